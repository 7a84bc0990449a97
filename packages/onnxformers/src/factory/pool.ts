// One row for a sequence.
import { cast, div, gather, iota, less, mul, reduceMean, reduceSum, reshape, type SequenceContext, ShapeError, unsqueeze, type Value } from '@onnxformers/core';

/**
 * One row for each sequence: its first, or the mean of its real rows (`ctx.lengths`).
 *
 * Shapes   x [batch, seq, dim] → [batch, dim]
 * Throws   ShapeError for packed rows
 */
export function pool(x: Value, ctx: SequenceContext, by: 'first' | 'mean'): Value {
  if (ctx.layout.kind === 'packed') throw new ShapeError({ path: x.graph.where, problem: 'packed rows are not pooled', hint: 'Compile the classifier with layout: "padded"' });
  if (by === 'first') return gather(x, x.graph.number(0, 'int64'), 1);
  const { lengths } = ctx;
  if (!lengths) return reduceMean(x, [1], { keepDims: false });
  const real = cast(less(reshape(iota(x.graph.root, x.dims[1]!), [1, x.dims[1]!]), unsqueeze(lengths, [1])), x.dtype);
  const count = unsqueeze(cast(lengths, x.dtype), [1]);
  return div(reduceSum(mul(x, unsqueeze(real, [2])), [1], { keepDims: false }), count);
}
