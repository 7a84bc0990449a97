// Exports for files that define ops.
export { countIn, defineOp, domainOf, Identity, noFlops } from './op';
export { type NamedOperands, type OperandNames, operandOf, operandsOf } from './operands';
export { printType, sameDims, type TensorType } from './tensor-type';
export type { Asked, Attribute, AttributeKind, Attrs, EncodedNode, Op, Sizes } from './types';
