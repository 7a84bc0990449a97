// Differences from a record, where the record means something.
import { type Tensor, toArray } from '@onnxformers/core';

/** The largest difference, and a text if the tensors cannot be compared. */
export interface Difference {
  readonly largest: number;
  readonly problem?: string;
}

/**
 * The largest difference of two tensors. If the mask [batch, seq] fits the first two axes, only positions with 1 are compared: the others are padding.
 */
export function difference(got: Tensor, wanted: Tensor, mask: Tensor | undefined): Difference {
  if (`${got.dims}` !== `${wanted.dims}`)
    return { largest: Number.POSITIVE_INFINITY, problem: `dims [${got.dims}] instead of [${wanted.dims}]` };
  const [batch, seq] = wanted.dims;
  const masked = mask && wanted.dims.length >= 2 && mask.dims[0] === batch && mask.dims[1] === seq;
  const row = masked ? wanted.data.length / (batch! * seq!) : wanted.data.length;
  const [a, b] = [toArray(got).data, toArray(wanted).data];
  let largest = 0;
  for (let i = 0; i < b.length; i++) {
    if (masked && Number(mask.data[Math.floor(i / row)]) === 0) continue;
    const off = Math.abs(a[i]! - b[i]!);
    if (!(off <= largest)) largest = Number.isNaN(off) ? Number.POSITIVE_INFINITY : off;
  }
  return { largest };
}

/** Attention weights [batch, heads, queries, keys]: only queries that are not padding. */
export function ofQueries(weights: Tensor, mask: Tensor | undefined): Tensor {
  if (!mask) return weights;
  const [, heads, queries, keys] = weights.dims as [number, number, number, number];
  const data = Float32Array.from(toArray(weights).data, (w, i) => {
    const [b, q] = [Math.floor(i / (heads * queries * keys)), Math.floor(i / keys) % queries];
    return Number(mask.data[b * queries + q]) ? w : 0;
  });
  return { dtype: 'float32', dims: weights.dims, data };
}
