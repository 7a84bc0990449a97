// Reads and writes arrays through strides: shared by transposing, slicing, broadcasting and reversing.
import { offsetsOf } from './strides';

/** The elements of a view, row-major: neighbours on an axis are `strides[axis]` apart, the first is at `start`. */
export function readView(data: Float64Array, sizes: readonly number[], strides: readonly number[], start = 0): Float64Array {
  const offsets = offsetsOf(sizes, strides);
  const out = new Float64Array(offsets.length);
  for (let i = 0; i < out.length; i++) out[i] = data[start + offsets[i]!]!;
  return out;
}

/** Writes values, row-major, where `readView` would read them. */
export function writeView(
  target: Float64Array,
  values: Float64Array,
  sizes: readonly number[],
  strides: readonly number[],
  start = 0,
): void {
  const offsets = offsetsOf(sizes, strides);
  for (let i = 0; i < values.length; i++) target[start + offsets[i]!] = values[i]!;
}
