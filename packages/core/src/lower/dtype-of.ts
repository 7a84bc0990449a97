// By which dtype a kernel is chosen.
import type { TensorType } from '../ir/define-op';
import type { Node } from '../ir/graph';
import { type DType, isFloat } from '../tensor/tensor';

/** The dtype by which a kernel is chosen: that of the first floating operand, else of a floating result, else of the first operand that is not bool. */
export function dtypeOf(node: Pick<Node, 'operands'> & { readonly outputs: readonly TensorType[] }): DType | undefined {
  const typed = [...node.operands, ...node.outputs].filter((v) => v !== undefined);
  const read = node.operands.filter((v) => v !== undefined);
  return (typed.find((v) => isFloat(v.dtype)) ?? read.find((v) => v.dtype !== 'bool') ?? typed[0])?.dtype;
}
