// Pooling over a sequence.
import { type Dim, type Layout, realPositionsOf, type SequenceContext, subDims, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';

/**
 * Pooling: one vector for each sequence, the first, the last or the mean of its real positions (by `lengths` and `attention_mask`; 0 if there are none).
 *
 * Shapes   x [batch, seq, dim] → [batch, dim]; packed [tokens, dim] → [batch, dim]
 * Throws   ShapeError when a size cannot be read from the graph's inputs
 */
export function pool(x: Value, ctx: SequenceContext, by: 'first' | 'last' | 'mean'): Value {
  if (ctx.layout.kind === 'packed') return poolPacked(x, ctx.layout, by);
  x.graph.root.limit({ size: x.dims[1]!, min: 1, problem: 'no positions to pool', by: 'pooling' });
  // Lengths leave padding on the right alone.
  if (by === 'first') return firstRow(x, realPositionsOf(x, { mask: ctx.mask, ...(ctx.state && { state: ctx.state }) }));
  const real = realPositionsOf(x, ctx);
  if (by === 'last') return lastRow(x, real);
  if (!real) return ops.reduceMean(x, [1], { keepDims: false });
  // In float32: the sum of a long sequence can exceed float16.
  const weights = ops.cast(real, 'float32');
  const count = ops.max(ops.reduceSum(weights, [1]), 1);
  const rows = ops.mul(ops.cast(x, 'float32'), ops.unsqueeze(weights, [2]));
  return ops.cast(ops.div(ops.reduceSum(rows, [1], { keepDims: false }), count), x.dtype);
}

/** Sequence i is rows offsets[i] to offsets[i + 1] − 1. */
function poolPacked(x: Value, { offsets }: Extract<Layout, { kind: 'packed' }>, by: 'first' | 'last' | 'mean'): Value {
  const [tokens, batch] = [x.dims[0]!, subDims(offsets.dims[0]!, 1)];
  x.graph.root.limit({ size: tokens, min: 1, problem: 'no positions to pool', by: 'pooling' });
  const column = (from: Dim, to: Dim): Value =>
    ops.reshape(ops.slice(offsets, { axes: [0], starts: [from], ends: [to] }), [batch, 1]);
  const [starts, ends] = [column(0, batch), column(1, offsets.dims[0]!)];
  const lengths = ops.sub(ends, starts);
  if (by !== 'mean') {
    const row = by === 'first' ? ops.min(starts, ops.sub(ops.size(x, tokens), 1)) : ops.max(ops.sub(ends, 1), 0);
    const rows = ops.gather(x, ops.reshape(row, [batch]), 0);
    return ops.where(ops.greater(lengths, 0), rows, 0);
  }
  const token = ops.reshape(ops.iota(x, tokens), [1, tokens]);
  const own = ops.logicalAnd(ops.lessOrEqual(starts, token), ops.less(token, ends));
  const share = ops.div(1, ops.cast(ops.max(lengths, 1), 'float32'));
  return ops.matmul(ops.cast(ops.where(own, share, 0), x.dtype), x);
}

/** Position 0, or the first that is not padding. */
function firstRow(x: Value, keep: Value | undefined): Value {
  if (!keep) return ops.gather(x, x.graph.number(0, 'int64'), 1);
  const first = ops.logicalAnd(keep, ops.equal(ops.cumSum(ops.cast(keep, 'int64'), 1), 1));
  return ops.reduceSum(ops.where(ops.unsqueeze(first, [2]), x, 0), [1], { keepDims: false });
}

/** The last position, or the last that is not padding. */
function lastRow(x: Value, real: Value | undefined): Value {
  const seq = x.dims[1]!;
  if (!real) return ops.squeeze(ops.slice(x, { axes: [1], starts: [subDims(seq, 1)], ends: [seq] }), [1]);
  const counted = ops.cumSum(ops.cast(real, 'int64'), 1);
  const last = ops.logicalAnd(real, ops.equal(counted, ops.reduceSum(ops.cast(real, 'int64'), [1])));
  return ops.reduceSum(ops.where(ops.unsqueeze(last, [2]), x, 0), [1], { keepDims: false });
}
