// Rows of a model's results as numbers.
import { castTensor, type Tensor } from '@onnxformers/core';

/** The elements of a tensor in float32, whatever its dtype is: those of a 16-bit float are stored as bits. */
export const floatsOf = (t: Tensor): Float32Array => castTensor(t, 'float32').data as Float32Array;

/** Row `b`, or the row of a position, of a tensor [batch, …] or [batch, seq, …], as a copy in float32. */
export function rowOf({ dtype, data, dims }: Tensor, ...at: readonly number[]): Float32Array {
  const size = dims.slice(at.length).reduce((a, b) => a * b, 1);
  const index = at.reduce((sum, i, axis) => sum * dims[axis]! + i, 0);
  return floatsOf({ dtype, dims: [size], data: data.slice(index * size, (index + 1) * size) });
}
