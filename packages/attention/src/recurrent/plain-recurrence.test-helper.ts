// Recurrent mixers in plain loops, on rows of numbers.
import type { NDArray } from '@onnxformers/core';

/** A row of numbers. */
export type Row = readonly number[];

/** Rows of a matrix or a vector. */
export const matrix = (p: NDArray): readonly Row[] => {
  const width = p.dims.at(-1)!;
  return Array.from({ length: p.data.length / width }, (_, i) => [...p.data.subarray(i * width, (i + 1) * width)]);
};
/** W x + b. */
export const mapped = (weight: NDArray, x: Row, bias?: NDArray): Row =>
  matrix(weight).map((row, i) => row.reduce((sum, w, c) => sum + w * x[c]!, bias?.data[i] ?? 0));
/** 1 / (1 + e⁻ˣ). */
export const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));
/** x σ(x). */
export const silu = (x: number): number => x * sigmoid(x);
/** ln (1 + eˣ). */
export const softplus = (x: number): number => Math.log1p(Math.exp(x));
/** Channels with a mean square of 1, scaled. */
export const normed = (x: Row, weight: NDArray, eps: number): Row => {
  const mean = x.reduce((sum, v) => sum + v * v, 0) / x.length;
  return x.map((v, i) => (v / Math.sqrt(mean + eps)) * weight.data[i]!);
};
/** silu of a causal convolution of each channel. */
export const convolvedRows = (rows: readonly Row[], weight: NDArray, bias?: NDArray): readonly Row[] => {
  const width = weight.dims[2]!;
  return rows.map((row, t) =>
    row.map((_, c) => {
      let sum = bias?.data[c] ?? 0;
      for (let i = 0; i < width; i++) sum += weight.data[c * width + i]! * (rows[t - width + 1 + i]?.[c] ?? 0);
      return silu(sum);
    }),
  );
};
/** A matrix that is 0. */
export const zeroState = (n: number, m: number): number[][] => Array.from({ length: n }, () => new Array<number>(m).fill(0));
/** Each sequence of a batch by itself. */
export const perSequence = (x: NDArray, f: (rows: readonly Row[]) => readonly Row[]): NDArray => {
  const [batch, seq] = x.dims as readonly [number, number];
  const rows = matrix(x);
  const y = Array.from({ length: batch }, (_, b) => f(rows.slice(b * seq, (b + 1) * seq))).flat();
  return { ...x, dims: [batch, seq, y[0]!.length], data: Float64Array.from(y.flat()) };
};
