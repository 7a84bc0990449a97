// Pooling over a sequence.
import { ConfigError, type SequenceContext, type Value } from '@onnxformers/core';
import { impliedBy } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';

/**
 * Pooling: one vector for each sequence, the first or the mean of its real positions (by `lengths` and `attention_mask`; 0 if there are none).
 *
 * Shapes   x [batch, seq, dim] → [batch, dim]
 * Throws   ConfigError for a packed batch
 */
export function pool(x: Value, ctx: SequenceContext, by: 'first' | 'mean'): Value {
  if (ctx.layout.kind === 'packed')
    throw new ConfigError({
      path: 'layout',
      problem: 'pooling does not support packed batches',
      expected: "layout: 'padded'",
      got: "layout: 'packed'",
    });
  x.graph.root.limit({ size: x.dims[1]!, min: 1, problem: 'no positions to pool', by: 'pooling' });
  if (by === 'first') return firstRow(x, impliedBy(ctx.mask).keyPadding);
  const real = realRows(x, ctx);
  if (!real) return ops.reduceMean(x, [1], { keepDims: false });
  const weights = ops.cast(real, x.dtype);
  const count = ops.max(ops.reduceSum(weights, [1]), 1);
  return ops.div(ops.reduceSum(ops.mul(x, ops.unsqueeze(weights, [2])), [1], { keepDims: false }), count);
}

/** Position 0, or the first that is not padding. */
function firstRow(x: Value, keep: Value | undefined): Value {
  if (!keep) return ops.gather(x, x.graph.number(0, 'int64'), 1);
  const first = ops.logicalAnd(keep, ops.equal(ops.cumSum(ops.cast(keep, 'int64'), 1), 1));
  return ops.reduceSum(ops.where(ops.unsqueeze(first, [2]), x, 0), [1], { keepDims: false });
}

/** bool [batch, seq]; undefined if every position is real. */
function realRows(x: Value, { lengths, mask }: SequenceContext): Value | undefined {
  const seq = x.dims[1]!;
  const within = lengths && ops.less(ops.reshape(ops.iota(x, seq), [1, seq]), ops.unsqueeze(lengths, [1]));
  const { keyPadding } = impliedBy(mask);
  return within && keyPadding ? ops.logicalAnd(within, keyPadding) : (within ?? keyPadding);
}
