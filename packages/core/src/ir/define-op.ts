// What a file that defines ops needs.
export { defineOp, domainOf, Identity } from './op';
export { printType, sameDims, type TensorType } from './tensor-type';
export type { Attribute, AttributeKind, Attrs, EncodedNode, Op, Sizes } from './types';
