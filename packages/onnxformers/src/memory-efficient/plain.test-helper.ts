// Attention, SwiGLU and norms in plain loops over tensors, and random tensors.
import { type Ort, type Target, type Tensor, targets, toArray, toTensor } from '@onnxformers/core';
import { randomNumbers } from '@onnxformers/core/testing';
import * as node from 'onnxruntime-node';
import * as web from 'onnxruntime-web';

web.env.wasm.numThreads = 1;

/** Where the ops are tested. */
export const machines: readonly { readonly name: string; readonly ort: Ort; readonly target: Target }[] = [
  { name: 'cpu', ort: node as unknown as Ort, target: targets.cpu },
  { name: 'wasm', ort: web as unknown as Ort, target: targets.wasm },
];

export type FloatDType = 'float32' | 'float16';

/** Numbers from −1.5 to 1.5, the same for the same name. */
export function random(name: string, dims: readonly number[], dtype: FloatDType = 'float32'): Tensor {
  const next = randomNumbers(name);
  const count = dims.reduce((a, b) => a * b, 1);
  return toTensor({ dtype, dims, data: Float64Array.from({ length: count }, () => 3 * next() - 1.5) });
}

/** The same with NaN in the rows [batch, row] for which `isPadding` is true. */
export function spoiled(x: Tensor, isPadding: (row: number) => boolean): Tensor {
  const { dtype, dims, data } = toArray(x);
  const width = dims.slice(2).reduce((a, b) => a * b, 1);
  return toTensor({
    dtype,
    dims,
    data: data.map((value, i) => (isPadding(Math.floor(i / width) % dims[1]!) ? Number.NaN : value)),
  });
}

/** What is added to the score of query i of sequence b and head h, and key j. */
export type Added = (b: number, h: number, i: number, j: number) => number;

/** softmax(scale · q kᵀ + added) v over [batch, seq, heads, head_dim]; a query without keys gives 0. */
export function plainAttention(q: Tensor, k: Tensor, v: Tensor, added: Added, scale?: number): Tensor {
  const [x, keys, values] = [toArray(q), toArray(k), toArray(v)];
  const [batch, seq, heads, width] = x.dims as [number, number, number, number];
  const [, kvSeq, kvHeads, out] = values.dims as [number, number, number, number];
  const factor = scale ?? 1 / Math.sqrt(width);
  const y = new Float64Array(batch * seq * heads * out);
  for (let b = 0; b < batch; b++)
    for (let h = 0; h < heads; h++)
      for (let i = 0; i < seq; i++) {
        const shared = Math.floor((h * kvHeads) / heads);
        const scores: number[] = [];
        for (let j = 0; j < kvSeq; j++) {
          const plus = added(b, h, i, j);
          let dot = 0;
          const [row, column] = [((b * seq + i) * heads + h) * width, ((b * kvSeq + j) * kvHeads + shared) * width];
          if (plus !== Number.NEGATIVE_INFINITY) for (let d = 0; d < width; d++) dot += x.data[row + d]! * keys.data[column + d]!;
          scores.push(dot * factor + plus);
        }
        const top = Math.max(...scores);
        if (top === Number.NEGATIVE_INFINITY) continue;
        const weights = scores.map((s) => Math.exp(s - top));
        const total = weights.reduce((a, w) => a + w, 0);
        weights.forEach((w, j) => {
          if (w === 0) return;
          const [at, column] = [((b * seq + i) * heads + h) * out, ((b * kvSeq + j) * kvHeads + shared) * out];
          for (let d = 0; d < out; d++) y[at + d]! += (w / total) * values.data[column + d]!;
        });
      }
  return { dtype: 'float64', dims: [batch, seq, heads, out], data: y };
}

/** Numbers of the materialised bias [queries, keys], for all sequences and heads. */
export function addedBy({ dims, data }: Tensor): Added {
  const [seq, kvSeq] = dims.slice(-2) as [number, number];
  const heads = dims.length > 2 ? dims.at(-3)! : 1;
  return (_, h, i, j) => Number(data[((heads === 1 ? 0 : h) * seq + i) * kvSeq + j]);
}

// Operands are at most this large.
const most = 1.5;

/**
 * A bound on the rounding errors of attention in float32, for operands up to 1.5: each score has an error of at most (head_dim + 2) units in its sum of absolute
 * products, which changes a weight by twice that share; the exponential, the sum of the weights and the product with v add a few units for each key. A result in
 * float16 is rounded once more.
 */
export function attentionTolerance(headDim: number, keys: number, dtype: FloatDType, addedMost = 0) {
  const unit = 2 ** -24;
  const score = ((headDim + 2) * unit * headDim * most * most) / Math.sqrt(headDim) + addedMost * unit;
  return { atol: most * (2 * score + (2 * keys + 16) * unit), rtol: dtype === 'float16' ? 2 ** -11 : 0 };
}

/** (silu(x w1ᵀ + b1) ⊙ (x w2ᵀ + b2)) w3ᵀ + b3 */
export function plainSwiglu(
  x: Tensor,
  w1: Tensor,
  b1: Tensor | undefined,
  w2: Tensor,
  b2: Tensor | undefined,
  w3: Tensor,
  b3: Tensor | undefined,
): Tensor {
  const [gate, up] = [plainLinear(x, w1, b1), plainLinear(x, w2, b2)];
  const hidden = { ...gate, data: toArray(gate).data.map((g, i) => (g / (1 + Math.exp(-g))) * toArray(up).data[i]!) };
  return plainLinear(hidden, w3, b3);
}

/** A bound on the rounding errors of SwiGLU in float32: a unit for each addition and product, in sums of absolute values. silu has a slope of at most 1.1. */
export function swigluTolerance(...[x, w1, b1, w2, b2, w3, b3]: Parameters<typeof plainSwiglu>) {
  const abs = (t: Tensor): Tensor => ({ dtype: 'float64', dims: t.dims, data: toArray(t).data.map(Math.abs) });
  const [gate, up] = [plainLinear(abs(x), abs(w1), b1 && abs(b1)), plainLinear(abs(x), abs(w2), b2 && abs(b2))];
  const hidden = { ...gate, data: toArray(gate).data.map((g, i) => 1.1 * g * toArray(up).data[i]!) };
  const magnitude = Math.max(...toArray(plainLinear(hidden, abs(w3), b3 && abs(b3))).data);
  const roundings = 2 * (w1.dims[1]! + 1) + w3.dims[1]! + 1 + 8;
  return { atol: roundings * 2 ** -24 * magnitude, rtol: x.dtype === 'float16' ? 2 ** -11 : 0 };
}

function plainLinear(x: Tensor, w: Tensor, b: Tensor | undefined): Tensor {
  const [rows, weight, bias] = [toArray(x), toArray(w), b && toArray(b)];
  const [out, width] = w.dims as [number, number];
  const count = rows.data.length / width;
  const data = new Float64Array(count * out);
  for (let row = 0; row < count; row++)
    for (let o = 0; o < out; o++) {
      let sum = bias ? bias.data[o]! : 0;
      for (let i = 0; i < width; i++) sum += rows.data[row * width + i]! * weight.data[o * width + i]!;
      data[row * out + o] = sum;
    }
  return { dtype: 'float64', dims: [...x.dims.slice(0, -1), out], data };
}

/** (x − mean) / √(variance + eps) ⊙ weight + bias of each row, or without the mean. */
export function plainNorm(
  x: Tensor,
  o: { readonly weight?: Tensor; readonly bias?: Tensor; readonly eps: number; readonly centre: boolean },
): Tensor {
  const { data } = toArray(x);
  const width = x.dims.at(-1)!;
  const [weight, bias] = [o.weight && toArray(o.weight), o.bias && toArray(o.bias)];
  const y = new Float64Array(data.length);
  for (let from = 0; from < data.length; from += width) {
    const row = data.subarray(from, from + width);
    const mean = o.centre ? row.reduce((a, b) => a + b, 0) / width : 0;
    const variance = row.reduce((sum, value) => sum + (value - mean) ** 2, 0) / width;
    row.forEach((value, i) => {
      y[from + i] = ((value - mean) / Math.sqrt(variance + o.eps)) * (weight ? weight.data[i]! : 1) + (bias ? bias.data[i]! : 0);
    });
  }
  return { dtype: 'float64', dims: x.dims, data: y };
}
