// Attend in plain float64 loops: the reference for its definition and every kernel.
import type { Pair } from '../mask/mask';
import { pairsOf } from '../mask/predicate';
import { countOf, type NDArray } from '../tensor/tensor';
import type { AttendAttrs, AttendParts } from './attend-parts';
import { broadcastIndex } from './broadcast';

/** Functions of the scores, before the mask, and of the weights, before dropout. */
interface Modifications {
  readonly scores?: (score: number, pair: Pair) => number;
  readonly weights?: (weight: number, pair: Pair) => number;
}

/** The results of Attend for arrays. Masked keys are never read; masked values have a weight of 0, and 0 · NaN is NaN as in every runtime. */
export function evaluateAttend(parts: AttendParts<NDArray>, attrs: AttendAttrs, by: Modifications = {}): readonly NDArray[] {
  const { q, k, v, queryOffset, bias, sinks, noise } = parts;
  const [batch, heads, seq, headDim] = q.dims as [number, number, number, number];
  const [, kvHeads, kvSeq, width] = v.dims as [number, number, number, number];
  const { scale = 1 / Math.sqrt(headDim), softcap, dropout = 0 } = attrs;
  const pairOf = pairsOf(parts.mask, { seq, kvSeq }, queryOffset);
  const allowed = (b: number, h: number, i: number, j: number): Pair | undefined => {
    const pair = pairOf(b, h, i, j);
    return pair && parts.mask.class.definition.allows(parts.mask, pair) ? pair : undefined;
  };
  const dims = [batch, heads, seq, width];
  const y = new Float64Array(countOf(dims));
  const all: NDArray = { dtype: q.dtype, dims: [batch, heads, seq, kvSeq], data: new Float64Array(batch * heads * seq * kvSeq) };

  const score = (b: number, h: number, i: number, j: number, kvHead: number): number => {
    const [row, col] = [((b * heads + h) * seq + i) * headDim, ((b * kvHeads + kvHead) * kvSeq + j) * headDim];
    let dot = 0;
    for (let d = 0; d < headDim; d++) dot += q.data[row + d]! * k.data[col + d]!;
    const capped = softcap === undefined ? dot * scale : softcap * Math.tanh((dot * scale) / softcap);
    return bias ? capped + bias.data[broadcastIndex(bias.dims, [b, h, i, j])]! : capped;
  };

  for (let b = 0; b < batch; b++)
    for (let h = 0; h < heads; h++)
      for (let i = 0; i < seq; i++) {
        const kvHead = Math.floor((h * kvHeads) / heads);
        const pairs = Array.from({ length: kvSeq }, (_, j) => allowed(b, h, i, j));
        const scores = pairs.map((pair, j) => {
          if (!pair) return Number.NEGATIVE_INFINITY;
          const own = score(b, h, i, j, kvHead);
          return by.scores ? by.scores(own, pair) : own;
        });
        const sink = sinks ? sinks.data[h]! : Number.NEGATIVE_INFINITY;
        const top = scores.reduce((a, s) => Math.max(a, s), sink);
        if (top === Number.NEGATIVE_INFINITY) continue;
        const weights = scores.map((s) => Math.exp(s - top));
        const total = weights.reduce((a, w) => a + w, Math.exp(sink - top));
        weights.forEach((w, j) => {
          const pair = pairs[j];
          const share = by.weights && pair ? by.weights(w / total, pair) : w / total;
          all.data[((b * heads + h) * seq + i) * kvSeq + j] = share;
          const dropped = noise !== undefined && noise.data[((b * heads + h) * seq + i) * kvSeq + j]! < dropout;
          const weight = dropped ? 0 : share / (noise ? 1 - dropout : 1);
          const [out, row] = [((b * heads + h) * seq + i) * width, ((b * kvHeads + kvHead) * kvSeq + j) * width];
          for (let d = 0; d < width; d++) y[out + d]! += weight * v.data[row + d]!;
        });
      }
  return attrs.weights ? [{ dtype: q.dtype, dims, data: y }, all] : [{ dtype: q.dtype, dims, data: y }];
}
