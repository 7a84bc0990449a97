// Reductions of arrays along axes.
import type { Dim } from '../dim/dim';
import type { NDArray } from '../tensor/tensor';
import { axesOf, offsetsAcross, offsetsAlong } from './strides';

/** The dims of the result of a reduction. */
export function reducedDims(dims: readonly Dim[], axes: readonly number[], keepDims: boolean): Dim[] {
  const reduced = new Set(axesOf(axes, dims.length));
  return keepDims ? dims.map((d, i) => (reduced.has(i) ? 1 : d)) : dims.filter((_, i) => !reduced.has(i));
}

/** Computes one number from the elements along some axes, for each index of the others. */
export function reduceArray(
  x: NDArray,
  axes: readonly number[],
  keepDims: boolean,
  f: (x: Float64Array, base: number, at: Int32Array) => number,
): NDArray {
  const reduced = axesOf(axes, x.dims.length);
  const along = offsetsAlong(x.dims, reduced);
  const data = Float64Array.from(offsetsAcross(x.dims, reduced), (base) => f(x.data, base, along));
  return { dtype: x.dtype, dims: reducedDims(x.dims, axes, keepDims) as number[], data };
}

/** The largest of the elements. */
export const largest = (x: Float64Array, base: number, at: Int32Array): number => {
  let most = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < at.length; i++) most = Math.max(most, x[base + at[i]!]!);
  return most;
};

/** log Σ exp of the elements, computed without overflow. */
export function logSumExpOf(x: Float64Array, base: number, at: Int32Array): number {
  const most = largest(x, base, at);
  if (!Number.isFinite(most)) return most;
  let total = 0;
  for (let i = 0; i < at.length; i++) total += Math.exp(x[base + at[i]!]! - most);
  return most + Math.log(total);
}
