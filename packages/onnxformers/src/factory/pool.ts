// One row for a sequence.
import {
  cast,
  cumSum,
  div,
  equal,
  gather,
  impliedBy,
  iota,
  less,
  logicalAnd,
  max,
  mul,
  reduceMean,
  reduceSum,
  reshape,
  type SequenceContext,
  ShapeError,
  unsqueeze,
  type Value,
  where,
} from '@onnxformers/core';

/**
 * One row for each sequence: the first or the mean of its real rows (those of `lengths` and `attention_mask`; 0 where there is none).
 *
 * Shapes   x [batch, seq, dim] → [batch, dim]
 * Throws   ShapeError for packed rows
 */
export function pool(x: Value, ctx: SequenceContext, by: 'first' | 'mean'): Value {
  if (ctx.layout.kind === 'packed')
    throw new ShapeError({
      path: x.graph.where,
      problem: 'packed rows are not pooled',
      hint: 'Compile the classifier with layout: "padded"',
    });
  if (by === 'first') return firstRow(x, impliedBy(ctx.mask).keyPadding);
  const real = realRows(x, ctx);
  if (!real) return reduceMean(x, [1], { keepDims: false });
  const weights = cast(real, x.dtype);
  const count = max(reduceSum(weights, [1]), 1);
  return div(reduceSum(mul(x, unsqueeze(weights, [2])), [1], { keepDims: false }), count);
}

/** Row 0, or the first that is not padding. */
function firstRow(x: Value, keep: Value | undefined): Value {
  if (!keep) return gather(x, x.graph.number(0, 'int64'), 1);
  const first = logicalAnd(keep, equal(cumSum(cast(keep, 'int64'), 1), 1));
  return reduceSum(where(unsqueeze(first, [2]), x, 0), [1], { keepDims: false });
}

/** bool [batch, seq]; undefined where every row is real. */
function realRows(x: Value, { lengths, mask }: SequenceContext): Value | undefined {
  const seq = x.dims[1]!;
  const within = lengths && less(reshape(iota(x, seq), [1, seq]), unsqueeze(lengths, [1]));
  const { keyPadding } = impliedBy(mask);
  return within && keyPadding ? logicalAnd(within, keyPadding) : (within ?? keyPadding);
}
