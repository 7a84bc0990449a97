// What a file that defines ops needs.
export { defineOp, domainOf, Identity } from './ir/op';
export { printType, type TensorType } from './ir/tensor-type';
export type { Attribute, AttributeKind, Attrs, EncodedNode, Op, Sizes } from './ir/types';
