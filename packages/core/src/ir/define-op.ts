// What a file that defines ops needs.
export { countIn, defineOp, domainOf, Identity, noFlops } from './op';
export { printType, sameDims, type TensorType } from './tensor-type';
export type { Attribute, AttributeKind, Attrs, EncodedNode, Op, Sizes } from './types';
