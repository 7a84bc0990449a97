// What a file that defines ops needs.
export { countIn, defineOp, domainOf, Identity, noFlops } from './op';
export { inOrder, type NamedOperands, type OperandNames, operandOf, operandsOf } from './operands';
export { printType, sameDims, type TensorType } from './tensor-type';
export type { Attribute, AttributeKind, Attrs, EncodedNode, Op, Sizes } from './types';
