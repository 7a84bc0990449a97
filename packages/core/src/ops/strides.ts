// Offsets of the elements of an array, row-major, as typed arrays for fast loops.
import { mismatch } from '../ir/graph';
import { countOf } from '../tensor/tensor';

/** The distance of neighbours on each axis, in elements. */
export function rowMajorStrides(dims: readonly number[]): number[] {
  return dims.map((_, axis) => countOf(dims.slice(axis + 1)));
}

/** The sums of `index[i] · strides[i]` for all indices below `sizes`, the last index changing fastest. */
export function offsetsOf(sizes: readonly number[], strides: readonly number[]): Int32Array {
  let offsets = Int32Array.of(0);
  sizes.forEach((size, axis) => {
    const stride = strides[axis]!;
    const next = new Int32Array(offsets.length * size);
    for (let n = 0, at = 0; n < offsets.length; n++) for (let k = 0; k < size; k++) next[at++] = offsets[n]! + k * stride;
    offsets = next;
  });
  return offsets;
}

/** Offsets of the elements along some axes of an array, at index 0 of the others. */
export function offsetsAlong(dims: readonly number[], axes: readonly number[]): Int32Array {
  const strides = rowMajorStrides(dims);
  return offsetsOf(
    axes.map((a) => dims[a]!),
    axes.map((a) => strides[a]!),
  );
}

/** Offsets of the elements along all axes but some. */
export function offsetsAcross(dims: readonly number[], axes: readonly number[]): Int32Array {
  return offsetsAlong(
    dims,
    dims.map((_, i) => i).filter((i) => !axes.includes(i)),
  );
}

/** An axis counted from the beginning: -1 is the last. Throws when the axis does not exist. */
export function axisOf(axis: number, rank: number): number {
  if (Number.isInteger(axis) && axis >= -rank && axis < rank) return axis < 0 ? axis + rank : axis;
  throw mismatch(
    `there is no axis ${axis}`,
    rank ? `${-rank} to ${rank - 1}` : 'no axis, since the operand is a scalar',
    String(axis),
  );
}

/** Axes counted from the beginning, sorted, each once. */
export function axesOf(axes: readonly number[], rank: number): number[] {
  const found = axes.map((a) => axisOf(a, rank)).sort((a, b) => a - b);
  const twice = found.find((a, i) => found[i + 1] === a);
  if (twice !== undefined) throw mismatch(`axis ${twice} is named twice`, 'different axes', `[${axes.join(', ')}]`);
  return found;
}
