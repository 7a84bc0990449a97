// Stochastic depth: sub-layers that are left out at random in training.

import type { Dim, PackedLayout, SequenceContext, Value } from '@onnxformers/core';
import { anObject, given } from '@onnxformers/core/lowering';

/**
 * In training, 0 for whole sequences, with a probability, and x / (1 − probability) for the others; otherwise x itself.
 *
 * Shapes   x [batch, seq, dim], packed [tokens, dim] → the same; one number is drawn for each sequence
 * Dtypes   floats
 * Source   Huang et al. 2016, https://arxiv.org/abs/1603.09382
 * Lowers   everywhere: GreaterOrEqual, Where in training, nothing otherwise
 * Example  const y = stochasticDepth(x, 0.1, ctx);
 */
export function stochasticDepth(x: Value, probability: number, ctx: SequenceContext): Value {
  given('stochasticDepth', { x, ctx }, { ctx: anObject });
  const g = x.graph.root;
  if (!g.training || probability === 0) return x;
  // Read from the graph: a layer alone loads nothing of this.
  const { ops } = g;
  const noise = g.draw('stochastic_depth', [sequences(x, ctx)], 'uniform');
  const along = ctx.layout.kind === 'packed' ? ops.gather(noise, sequenceOfTokens(x, ctx.layout), 0) : noise;
  const others = Array.from({ length: x.rank - 1 }, (_, i) => i + 1);
  const kept = ops.greaterOrEqual(ops.unsqueeze(along, others), probability);
  return ops.where(kept, ops.div(x, 1 - probability), 0);
}

const sequences = (x: Value, { layout }: SequenceContext): Dim => (layout.kind === 'packed' ? layout.lengths : x).dims[0]!;

/** The number of sequences that end at or before each token, int64 [tokens]. */
function sequenceOfTokens(x: Value, { offsets }: PackedLayout): Value {
  const { ops } = x.graph;
  const ends = ops.slice(offsets, { axes: [0], starts: [1], ends: [offsets.dims[0]!] });
  const tokens = ops.unsqueeze(ops.iota(x, x.dims[0]!), [1]);
  const ended = ops.lessOrEqual(ops.unsqueeze(ends, [0]), tokens);
  return ops.reduceSum(ops.cast(ended, 'int64'), [1], { keepDims: false });
}
