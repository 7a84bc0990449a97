// Exports for files that define ops.
export { countIn, defineOp, domainOf, Identity, noFlops } from './op';
export { printType, sameDims, type TensorType } from './tensor-type';
export type { Attribute, AttributeKind, Attrs, EncodedNode, Op, Sizes } from './types';
