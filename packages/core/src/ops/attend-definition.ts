// The definition of Attend in smaller ops, in parts that the definitions of other attentions share.
import { type Dim, divDims, mulDims } from '../dim/dim';
import type { Value, Vocabulary } from '../ir/graph';
import type { MaskFrame } from '../mask/mask';
import { maskTensor, queryHasKey } from '../mask/tensor';
import type { DType } from '../tensor/tensor';
import { type AttendAttrs, type AttendParts, scaleOf } from './attend-parts';

/** Functions of the scores [batch, heads, seq, kv_seq], before the mask, and of the weights, before dropout. */
interface Modifications {
  readonly scores?: (scores: Value, frame: MaskFrame) => Value;
  readonly weights?: (weights: Value, frame: MaskFrame) => Value;
}

/** The results of Attend. The mask becomes a tensor only where necessary, and k and v are never repeated for grouped heads. */
export function decomposeAttend(
  parts: AttendParts<Value>,
  attrs: Omit<AttendAttrs, 'mask' | 'slots'>,
  ops: Vocabulary,
  by: Modifications = {},
): readonly Value[] {
  const { q, k, v, queryOffset, bias, sinks, noise } = parts;
  const frame = { graph: q.graph, batch: q.dims[0]!, heads: q.dims[1]!, seq: q.dims[2]!, kvSeq: k.dims[2]!, queryOffset };
  const keep = maskTensor(parts.mask, frame);
  const scores = scaledScores(grouped(q, k, ops), k, scaleOf(k, attrs.scale), attrs.softcap, ops);
  const perHead = keep || bias || sinks || noise || by.scores || by.weights ? headwise(scores, q, ops) : scores;
  const biased = bias ? ops.add(perHead, ops.cast(bias, perHead.dtype)) : perHead;
  const changed = by.scores?.(biased, frame) ?? biased;
  // A sink gets all weight if there is no key.
  const some = !keep || sinks ? true : queryHasKey(parts.mask, frame, keep);
  const masked = keep ? maskScores(changed, keep, some, ops) : changed;
  const shares = sinks ? softmaxWithSinks(masked, ops.reshape(sinks, [sinks.dims[0]!, 1, 1]), ops) : ops.softmax(masked, -1);
  const weights = by.weights ? hideWeights(by.weights(shares, frame), keep, ops) : shares;
  const kept = noise ? dropped(weights, noise, attrs.dropout ?? 0, ops) : weights;
  const y = weightedRows(kept, v, q, ops);
  const shown = (x: Value): Value => (some === true ? x : ops.where(some, x, 0));
  if (!attrs.weights) return [shown(y)];
  return [shown(y), ops.cast(shown(headwise(weights, q, ops)), q.dtype)];
}

// A hidden key keeps a weight of 0.
const hideWeights = (weights: Value, keep: Value | undefined, { where }: Vocabulary): Value =>
  keep ? where(keep, weights, 0) : weights;

/** The dtype of scores and softmax for operands of a dtype. */
export const wide = (dtype: DType): DType => (dtype === 'float64' ? dtype : 'float32');

/**
 * Scores with −∞ where `keep` is false, which no score and no bias can outweigh. In a fully masked row all of them become 0, so that its
 * weights are finite, here and in the gradient; its result is replaced afterwards. `some` is true where a query may attend to a key.
 */
export function maskScores(scores: Value, keep: Value, some: Value | true, ops: Vocabulary): Value {
  return ops.where(keep, scores, maskedScore(keep, some, scores.dtype, ops));
}

/**
 * The value of a hidden score: −∞, or 0 for a query that may attend to no key.
 *
 * Shapes   some bool [..., seq, 1] → the same, or [] where every query may attend to a key
 * Throws   nothing
 * Lowers   everywhere: Where, or a constant
 */
export function maskedScore({ graph }: Value, some: Value | true, dtype: DType, { where }: Vocabulary): Value {
  const nothing = graph.number(Number.NEGATIVE_INFINITY, dtype);
  return some === true ? nothing : where(some, nothing, graph.number(0, dtype));
}

/** softcap(scale · q kᵀ) in the dtype of the softmax, for q [..., rows, head_dim] and k [..., keys, head_dim]. */
export function scaledScores(
  q: Value,
  k: Value,
  scale: number,
  softcap: number | undefined,
  { cast, matmul, mul, swapLast, tanh }: Vocabulary,
): Value {
  const dtype = wide(q.dtype);
  // Scaling q costs less than scaling the scores.
  const scaled = mul(cast(q, dtype), softcap === undefined ? scale : scale / softcap);
  const scores = matmul(scaled, swapLast(cast(k, dtype)));
  return softcap === undefined ? scores : mul(tanh(scores), softcap);
}

/** [batch, heads, seq, width] → [batch, kv_heads, group · seq, width]: the query heads that share a key head, one after another. */
export function grouped(x: Value, k: Value, { reshape }: Vocabulary): Value {
  const [batch, heads, rows, width] = x.dims as [Dim, Dim, Dim, Dim];
  const kvHeads = k.dims[1]!;
  return reshape(x, [batch, kvHeads, mulDims(divDims(heads, kvHeads), rows), width]);
}

/** [batch, kv_heads, group · seq, width] → [batch, heads, seq, width], with the sizes of q. */
export function headwise(x: Value, { dims: [batch, heads, seq] }: Value, { reshape }: Vocabulary): Value {
  return reshape(x, [batch!, heads!, seq!, x.dims[3]!]);
}

/** weights · v in the dtype of v, [batch, heads, seq, v_head_dim]; the weights are for each query head, or grouped. */
export function weightedRows(weights: Value, v: Value, q: Value, ops: Vocabulary): Value {
  return headwise(ops.matmul(grouped(ops.cast(weights, v.dtype), v, ops), v), q, ops);
}

/** Softmax over the keys and one further logit, which is removed from the result. `sinks` broadcasts to [..., seq, 1]. */
export function softmaxWithSinks(scores: Value, sinks: Value, { cast, concat, expand, slice, softmax }: Vocabulary): Value {
  const last = scores.rank - 1;
  const sink = expand(cast(sinks, scores.dtype), [...scores.dims.slice(0, -1), 1]);
  return slice(softmax(concat([scores, sink], last), -1), { axes: [last], starts: [0], ends: [scores.dims[last]!] });
}

function dropped(weights: Value, noise: Value, probability: number, { greaterOrEqual, mul, where }: Vocabulary): Value {
  if (probability === 0) return weights;
  const factor = probability === 1 ? 0 : 1 / (1 - probability);
  return mul(where(greaterOrEqual(noise, probability), weights, 0), factor);
}
