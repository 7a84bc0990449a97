// The inverse of triangular matrices with ones on their diagonal.
import type { Value } from '@onnxformers/core';
import { apply, defineOp, mismatch, printType } from '@onnxformers/core/lowering';
import type { Ops } from './carry';

/** The op behind {@link unitLowerInverse}. Operand: lower [..., rows, rows], of which only the elements below the diagonal are read. */
export const UnitLowerInverse = defineOp({
  key: 'onnxformers.UnitLowerInverse',
  operands: ['lower'] as const,
  attributes: {},
  infer([lower]) {
    const rows = lower!.dims.at(-1);
    if (typeof rows !== 'number' || lower!.dims.at(-2) !== rows)
      throw mismatch('not square matrices of a known size', '[..., rows, rows]', printType(lower));
    return [lower!];
  },
  decompose: ([lower], _, ops) => [inBlocks(lower!, ops)],
  // d (1 + L)⁻¹ = −(1 + L)⁻¹ dL (1 + L)⁻¹
  vjp({ outputs: [inverse] }, [grad], ops) {
    if (!grad) return [];
    const transposed = ops.swapLast(inverse!);
    return [ops.tril(ops.neg(ops.matmul(ops.matmul(transposed, grad), transposed)), -1)];
  },
  evaluate([lower]) {
    const rows = lower!.dims.at(-1)!;
    const data = new Float64Array(lower!.data.length);
    for (let at = 0; at < data.length; at += rows * rows)
      for (let i = 0; i < rows; i++) {
        data[at + i * rows + i] = 1;
        for (let j = 0; j < i; j++)
          for (let k = j; k < i; k++) data[at + i * rows + j]! -= lower!.data[at + i * rows + k]! * data[at + k * rows + j]!;
      }
    return [{ ...lower!, data }];
  },
});

/**
 * Inverses of blocks on the diagonal are joined in pairs: [[A, 0], [C, B]]⁻¹ = [[A⁻¹, 0], [−B⁻¹ C A⁻¹, B⁻¹]]. A series in powers of L would
 * cancel: for equal keys its terms grow like binomial coefficients.
 */
function inBlocks(lower: Value, ops: Ops): Value {
  const rows = lower.dims.at(-1) as number;
  const place = ops.iota(lower, rows);
  const [row, column] = [ops.reshape(place, [rows, 1]), ops.reshape(place, [1, rows])];
  // C of all pairs of blocks of this size.
  const between = (size: number): Value => {
    const paired = ops.equal(ops.div(row, 2 * size), ops.div(column, 2 * size));
    return ops.where(ops.logicalAnd(paired, ops.less(ops.div(column, size), ops.div(row, size))), lower, 0);
  };
  const identity = ops.cast(ops.equal(row, column), lower.dtype);
  if (rows === 1) return ops.expand(identity, lower.dims);
  let inverse = ops.sub(identity, between(1));
  for (let size = 2; size < rows; size *= 2) inverse = ops.sub(inverse, ops.matmul(ops.matmul(inverse, between(size)), inverse));
  return inverse;
}

/**
 * (1 + L)⁻¹ for the part of matrices below their diagonal.
 *
 * Shapes   lower [..., rows, rows], rows known → the same
 * Throws   ShapeError for other matrices
 * Lowers   everywhere: log₂ rows pairs of MatMul
 */
export const unitLowerInverse = (lower: Value): Value => apply(UnitLowerInverse, [lower], {})[0]!;
