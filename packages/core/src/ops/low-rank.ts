// A matrix with a low-rank update.

import { defineOp, type Op, printType } from '../ir/define-op';
import { apply, mismatch, type Operand, type Value } from '../ir/graph';
import { acceptAlike } from './accept';

type LowRankAttrs = { readonly scale: number };

const names = ['weight', 'b', 'a'] as const;
/** The high-level op behind {@link lowRankUpdate}. Operands: weight, b, a. */
export const LowRankUpdate: Op<LowRankAttrs, typeof names> = defineOp<LowRankAttrs, typeof names>({
  key: 'onnxformers.LowRankUpdate',
  operands: names,
  attributes: { scale: 'float' },
  infer(operands) {
    const [weight, b, a] = acceptAlike(operands.slice(0, 3), 'float');
    for (const m of [weight!, b!, a!])
      if (m.dims.length !== 2) throw mismatch('an operand is not a matrix', 'two axes', printType(m));
    const [out, inner] = weight!.dims;
    if (b!.dims[0] !== out || a!.dims[1] !== inner || b!.dims[1] !== a!.dims[0])
      throw mismatch(
        'the update does not fit the weight',
        `[${out}, rank] and [rank, ${inner}]`,
        `${printType(b)} and ${printType(a)}`,
      );
    return [weight!];
  },
  decompose: ([weight, b, a], { scale }, { add, matmul, mul }) => [add(weight, mul(matmul(b, a), scale))],
});

/**
 * A matrix with a low-rank update: `weight + scale · b a`.
 *
 * Shapes   weight [out, in], b [out, rank], a [rank, in] → [out, in]
 * Dtypes   floats, all the same
 * Throws   ShapeError when the matrices do not fit
 * Lowers   everywhere: MatMul, Add
 */
export const lowRankUpdate = (weight: Operand, b: Operand, a: Operand, scale: number): Value =>
  apply(LowRankUpdate, [weight, b, a], { scale })[0]!;
