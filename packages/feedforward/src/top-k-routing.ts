// The experts with the largest scores, and their weights.
import type { Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';

/** How experts are chosen and weighed. */
export interface TopKRouting {
  readonly experts: number;
  readonly topK: number;
  readonly scores: 'softmax' | 'sigmoid';
  readonly normalize: boolean;
  readonly scale: number;
  readonly groups: number;
  readonly topGroups: number;
}

/** The weights of all experts, which are 0 for those that are not chosen. */
export interface TopKWeights {
  /** float32 [tokens, experts] */
  readonly weights: Value;
  /** Scores of all experts, float32 [tokens, experts]. */
  readonly scores: Value;
  /** 1 for experts that are chosen, float32 [tokens, experts]. */
  readonly chosen: Value;
}

/** What ensures that a sum of weights is not 0: the least normal float32. */
const smallest = 2 ** -126;

/**
 * The experts of each token with the largest scores + correction, in the best groups, and their weights.
 *
 * Shapes   logits float32 [tokens, experts] · correction float32 [experts]
 */
export function topKWeights(logits: Value, correction: Value | undefined, o: TopKRouting): TopKWeights {
  const scores = o.scores === 'softmax' ? ops.softmax(logits) : ops.sigmoid(logits);
  // The order of softmax is that of the logits, which do not underflow.
  const ranked = correction ? ops.add(scores, correction) : scores;
  const order = correction ? ranked : logits;
  const [, best] = ops.topK(o.topGroups < o.groups ? inBestGroups(order, ranked, o) : order, o.topK);
  const chosen = members(best, o.experts);
  const own = ops.mul(scores, chosen);
  const sum = o.normalize ? ops.max(ops.reduceSum(own, [1]), smallest) : undefined;
  return { weights: ops.mul(sum ? ops.div(own, sum) : own, o.scale), scores, chosen };
}

/** −∞ outside the groups whose two best experts have the largest sum of what they are ranked by: sums of logits have another order. */
function inBestGroups(order: Value, ranked: Value, { experts, groups, topGroups }: TopKRouting): Value {
  const tokens = order.dims[0]!;
  const size = experts / groups;
  const grouped = (x: Value): Value => ops.reshape(x, [tokens, groups, size]);
  const [two] = ops.topK(grouped(ranked), Math.min(2, size));
  const [, best] = ops.topK(ops.reduceSum(two, [2], { keepDims: false }), topGroups);
  const inside = ops.greater(ops.unsqueeze(members(best, groups), [2]), 0);
  return ops.reshape(ops.where(inside, grouped(order), Number.NEGATIVE_INFINITY), [tokens, experts]);
}

/** [tokens, k] → 1 at each index, float32 [tokens, count] */
const members = (indices: Value, count: number): Value =>
  ops.reduceSum(ops.oneHot(indices, count, { dtype: 'float32' }), [1], { keepDims: false });

/**
 * The loss that balances experts: experts · Σ over experts of the share of tokens that chose it times its mean score, which sum to 1 for each token.
 *
 * @param real 1 for the tokens that count, float32 [tokens, 1]; absent: all
 */
export function topKBalanceLoss({ scores, chosen }: TopKWeights, { experts, ...o }: TopKRouting, real: Value | undefined): Value {
  const shares = o.scores === 'softmax' ? scores : ops.div(scores, ops.max(ops.reduceSum(scores, [1]), smallest));
  const count = real && ops.max(ops.reduceSum(real, [0]), 1);
  const mean = (x: Value): Value => (real ? ops.div(ops.reduceSum(ops.mul(x, real), [0]), count) : ops.reduceMean(x, [0]));
  return ops.mul(ops.reduceSum(ops.mul(mean(chosen), mean(shares)), [0, 1], { keepDims: false }), experts);
}
