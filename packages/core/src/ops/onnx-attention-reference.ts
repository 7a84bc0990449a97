// ONNX Attention in plain loops of float64.
import { countOf, type NDArray } from '../tensor/tensor';
import { broadcastIndex } from './broadcast';
import { type AttentionAttrs, type AttentionParts, attentionSizes, isShort } from './onnx-attention-parts';

type Numbers = { readonly [name in keyof ReturnType<typeof attentionSizes>]: number };

/** The outputs of ONNX Attention for arrays. Masked positions of K and V are never read for Y. */
export function evaluateAttention(parts: AttentionParts<NDArray>, attrs: AttentionAttrs, opset: 23 | 24): NDArray[] {
  const { q, v } = parts;
  const s = attentionSizes(parts, attrs) as Numbers;
  const { is_causal = 0, softcap = 0, scale = 1 / Math.sqrt(s.headDim), qk_matmul_output_mode: mode = 0 } = attrs;
  const fourD = q.dims.length === 4;
  const queries = rowsByHead(q, s.heads);
  const keys = withPast(parts.k, parts.pastKey, s.kvHeads);
  const values = withPast(v, parts.pastValue, s.kvHeads);
  const bias = biasOf(parts, s, is_causal !== 0, opset);
  const qk: NDArray = zeros(q.dtype, [s.batch, s.heads, s.seq, s.total]);
  const y = zeros(q.dtype, fourD ? [s.batch, s.heads, s.seq, s.valueDim] : [s.batch, s.seq, s.heads * s.valueDim]);

  for (let b = 0; b < s.batch; b++)
    for (let h = 0; h < s.heads; h++)
      for (let i = 0; i < s.seq; i++) {
        const kvHead = Math.floor((h * s.kvHeads) / s.heads);
        const query = queries(b, h, i);
        const raw = range(s.total, (j) => scale * dot(query, keys(b, kvHead, j)));
        const capped = softcap ? raw.map((x) => softcap * Math.tanh(x / softcap)) : raw;
        const biases = range(s.total, (j) => bias(b, h, i, j));
        const masked = capped.map((x, j) => (biases[j] === Number.NEGATIVE_INFINITY ? Number.NEGATIVE_INFINITY : x + biases[j]!));
        const weights = softmax(masked);
        qk.data.set([raw, capped, masked, weights][mode]!, ((b * s.heads + h) * s.seq + i) * s.total);
        const at = fourD ? ((b * s.heads + h) * s.seq + i) * s.valueDim : ((b * s.seq + i) * s.heads + h) * s.valueDim;
        weights.forEach((w, j) => {
          if (w !== 0) for (const [d, x] of values(b, kvHead, j).entries()) y.data[at + d]! += w * x;
        });
      }
  return [y, present(keys, parts.k, s, s.headDim), present(values, v, s, s.valueDim), qk].slice(0, attrs.outputs);
}

type Rows = (b: number, h: number, i: number) => Float64Array;

// Rows of [batch, heads, seq, width] or [batch, seq, heads · width].
function rowsByHead({ dims, data }: NDArray, heads: number): Rows {
  if (dims.length === 4) {
    const [, , seq, width] = dims as [number, number, number, number];
    return (b, h, i) => data.subarray(((b * heads + h) * seq + i) * width, ((b * heads + h) * seq + i + 1) * width);
  }
  const [, seq, hidden] = dims as [number, number, number];
  const width = hidden / heads;
  return (b, h, i) => data.subarray((b * seq + i) * hidden + h * width, (b * seq + i) * hidden + (h + 1) * width);
}

function withPast(rows: NDArray, past: NDArray | undefined, heads: number): Rows {
  const now = rowsByHead(rows, heads);
  if (!past) return now;
  const [before, held] = [rowsByHead(past, heads), past.dims[2]!];
  return (b, h, i) => (i < held ? before(b, h, i) : now(b, h, i - held));
}

function present(rows: Rows, { dtype }: NDArray, { batch, kvHeads, total }: Numbers, width: number): NDArray {
  const out = zeros(dtype, [batch, kvHeads, total, width]);
  for (let b = 0; b < batch; b++)
    for (let h = 0; h < kvHeads; h++)
      for (let i = 0; i < total; i++) out.data.set(rows(b, h, i), ((b * kvHeads + h) * total + i) * width);
  return out;
}

// The addend of each score: −∞ where attention is not allowed.
function biasOf({ mask, pastKey, nonpad }: AttentionParts<NDArray>, s: Numbers, isCausal: boolean, opset: 23 | 24) {
  const short = mask !== undefined && isShort(mask, s.total, opset);
  return (b: number, h: number, i: number, j: number): number => {
    const offset = pastKey || !nonpad ? s.past : nonpad.data[b]! - s.seq;
    if (isCausal && j > i + offset) return Number.NEGATIVE_INFINITY;
    if (nonpad && j >= nonpad.data[b]!) return Number.NEGATIVE_INFINITY;
    if (!mask) return 0;
    if (short && j >= mask.dims.at(-1)!) return Number.NEGATIVE_INFINITY;
    const x = mask.data[broadcastIndex(mask.dims, [b, h, i, j])]!;
    if (mask.dtype !== 'bool') return x;
    return x ? 0 : Number.NEGATIVE_INFINITY;
  };
}

// All 0 for a fully masked row.
function softmax(scores: readonly number[]): readonly number[] {
  const top = Math.max(Number.NEGATIVE_INFINITY, ...scores);
  if (top === Number.NEGATIVE_INFINITY) return scores.map(() => 0);
  const weights = scores.map((x) => Math.exp(x - top));
  const total = weights.reduce((a, w) => a + w, 0);
  return weights.map((w) => w / total);
}

const range = (n: number, f: (i: number) => number): readonly number[] => Array.from({ length: n }, (_, i) => f(i));
const dot = (a: Float64Array, b: Float64Array): number => a.reduce((sum, x, i) => sum + x * b[i]!, 0);
const zeros = (dtype: NDArray['dtype'], dims: readonly number[]): NDArray => ({
  dtype,
  dims,
  data: new Float64Array(countOf(dims)),
});
