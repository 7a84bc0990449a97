// Attention in plain loops over arrays [batch, heads, seq, channels].
import type { NDArray } from '@onnxformers/core';

export type Rows = readonly (readonly number[])[];

/** The rows of one head. */
export function rowsOf(x: NDArray, batch: number, head: number): number[][] {
  const [, heads, rows, width] = x.dims as [number, number, number, number];
  const from = (batch * heads + head) * rows * width;
  return Array.from({ length: rows }, (_, i) => Array.from(x.data.subarray(from + i * width, from + (i + 1) * width)));
}

/** Applies a function to the rows of each query head, and to those of its key and value head. */
export function perHead(
  q: NDArray,
  k: NDArray,
  v: NDArray,
  f: (q: number[][], k: number[][], v: number[][], batch: number, head: number) => Rows,
): NDArray {
  const [batch, heads] = q.dims as [number, number];
  const group = heads / k.dims[1]!;
  const all: number[] = [];
  let [rows, width] = [0, 0];
  for (let b = 0; b < batch; b++)
    for (let h = 0; h < heads; h++) {
      const shared = Math.floor(h / group);
      const y = f(rowsOf(q, b, h), rowsOf(k, b, shared), rowsOf(v, b, shared), b, h);
      [rows, width] = [y.length, y[0]!.length];
      all.push(...y.flat());
    }
  return { dtype: q.dtype, dims: [batch, heads, rows, width], data: Float64Array.from(all) };
}

export const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((sum, x, i) => sum + x * b[i]!, 0);

/** a b for lists of rows. */
export const product = (a: Rows, b: Rows): number[][] =>
  a.map((row) => b[0]!.map((_, j) => row.reduce((sum, x, i) => sum + x * b[i]![j]!, 0)));

export const turned = (a: Rows): number[][] => a[0]!.map((_, j) => a.map((row) => row[j]!));

/** Softmax of the allowed scores; 0 everywhere if none is. */
export function softmaxOf(scores: readonly number[], allowed: (j: number) => boolean): number[] {
  const powers = scores.map((s, j) => (allowed(j) ? Math.exp(s) : 0));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((p) => (sum === 0 ? 0 : p / sum));
}

/** softmax(q kᵀ · scale) v over the pairs that are allowed. */
export function attention(
  q: Rows,
  k: Rows,
  v: Rows,
  allowed: (i: number, j: number) => boolean = () => true,
  scale = 1 / Math.sqrt(k[0]!.length),
): number[][] {
  return q.map((row, i) => {
    const weights = softmaxOf(
      k.map((key) => scale * dot(row, key)),
      (j) => allowed(i, j),
    );
    return v[0]!.map((_, c) => weights.reduce((sum, w, j) => sum + w * v[j]![c]!, 0));
  });
}

// ---- Multi-head attention --------------------------------------------------------------------------------------------------

export type Parameters_ = Readonly<Record<string, NDArray>>;

/** x Wᵀ + b of rows [batch, seq, from], from and to some row of the weight. */
export function projected(x: NDArray, weight: NDArray, bias: NDArray | undefined, first = 0, count = weight.dims[0]!): NDArray {
  const from = weight.dims[1]!;
  const rows = x.data.length / from;
  const data = new Float64Array(rows * count);
  for (let r = 0; r < rows; r++)
    for (let o = 0; o < count; o++) {
      let sum = bias ? bias.data[first + o]! : 0;
      for (let i = 0; i < from; i++) sum += weight.data[(first + o) * from + i]! * x.data[r * from + i]!;
      data[r * count + o] = sum;
    }
  return { dtype: x.dtype, dims: [...x.dims.slice(0, -1), count], data };
}

/** [batch, seq, heads · width] → [batch, heads, seq, width], and back. */
export function split(x: NDArray, heads: number): NDArray {
  const [batch, seq, dim] = x.dims as [number, number, number];
  const width = dim / heads;
  const data = new Float64Array(x.data.length);
  for (let b = 0; b < batch; b++)
    for (let s = 0; s < seq; s++)
      for (let c = 0; c < dim; c++)
        data[((b * heads + Math.floor(c / width)) * seq + s) * width + (c % width)] = x.data[(b * seq + s) * dim + c]!;
  return { ...x, dims: [batch, heads, seq, width], data };
}
export function merge(x: NDArray): NDArray {
  const [batch, heads, seq, width] = x.dims as [number, number, number, number];
  const data = new Float64Array(x.data.length);
  for (let b = 0; b < batch; b++)
    for (let h = 0; h < heads; h++)
      for (let s = 0; s < seq; s++)
        for (let c = 0; c < width; c++)
          data[(b * seq + s) * heads * width + h * width + c] = x.data[((b * heads + h) * seq + s) * width + c]!;
  return { ...x, dims: [batch, seq, heads * width], data };
}

/** Multi-head attention with a parameter for each projection. */
export function byHand(x: NDArray, p: Parameters_, heads: number, kvHeads: number, memory = x, values = memory): NDArray {
  const of = (name: string, rows: NDArray, n: number) => split(projected(rows, p[`${name}.weight`]!, p[`${name}.bias`]), n);
  const [q, k, v] = [of('q_proj', x, heads), of('k_proj', memory, kvHeads), of('v_proj', values, kvHeads)];
  const y = perHead(q, k, v, (qs, ks, vs) => attention(qs, ks, vs));
  return projected(merge(y), p['o_proj.weight']!, p['o_proj.bias']);
}
