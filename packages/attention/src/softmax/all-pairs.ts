// Scores of all pairs, for mechanisms that no kernel computes.
import type { Pairs, SequenceContext, Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { timesKeyHead } from '../heads';

/** scale · q kᵀ in float32, [batch, heads, seq, kv_seq]; the default scale is 1 / √head_dim. */
export function scoresOf(q: Value, k: Value, scale: number | undefined): Value {
  const by = scale ?? 1 / Math.sqrt(Number(k.dims[3]));
  return timesKeyHead(ops.mul(ops.cast(q, 'float32'), by), ops.swapLast(ops.cast(k, 'float32')));
}

/** Scores with the attention bias of the context. */
export const biased = (scores: Value, { bias }: SequenceContext): Value =>
  bias ? ops.add(scores, ops.cast(bias, 'float32')) : scores;

/** Weights of pairs that may attend; the others, and those of queries without a key, are 0. */
export const shown = (weights: Value, { keep }: Pairs): Value => (keep ? ops.where(keep, weights, 0) : weights);

/** weights · v, [batch, heads, seq, v_head_dim] in the dtype of v. */
export const weighted = (weights: Value, v: Value): Value => timesKeyHead(ops.cast(weights, v.dtype), v);
