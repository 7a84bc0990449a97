// Shared by gather and scatter: checks of indices, and the offsets of their elements.
import type { TensorType } from '../ir/define-op';
import { mismatch } from '../ir/graph';
import { countOf, type NDArray } from '../tensor/tensor';
import { accept } from './accept';
import { axisOf, rowMajorStrides } from './strides';

/** An index counted from the beginning; throws when it is out of range. */
export function indexOf(index: number, size: number): number {
  if (index >= -size && index < size) return index < 0 ? index + size : index;
  throw mismatch('an index is out of range', size ? `${-size} to ${size - 1}` : 'none, since the axis is empty', String(index));
}

/** The type of indices; throws unless they are int32 or int64. */
export function acceptIndices(type: TensorType | undefined): TensorType {
  const { dtype } = accept(type, 'integer', 'the indices');
  if (dtype !== 'int64' && dtype !== 'int32') throw mismatch('wrong dtype for the indices', 'int64 or int32', dtype);
  return type!;
}

/** Checks that indices fit an array along an axis: the same rank, and on other axes no size that is known to be greater. */
export function acceptElementIndices(x: TensorType | undefined, indices: TensorType | undefined, axis: number): void {
  const { dims } = accept(x, 'any');
  const index = acceptIndices(indices).dims;
  const at = axisOf(axis, dims.length);
  if (index.length !== dims.length) throw mismatch('the indices have the wrong rank', String(dims.length), String(index.length));
  index.forEach((d, i) => {
    const size = dims[i]!;
    if (i === at || d === size || (typeof d === 'number' && typeof size === 'number' && d < size)) return;
    throw mismatch(`the indices do not fit on axis ${i}`, `at most ${size}`, String(d));
  });
}

/** For each index, the offset of its element. */
export function elementOffsets(dims: readonly number[], indices: NDArray, axis: number): Int32Array {
  const strides = rowMajorStrides(dims);
  const place = new Array<number>(dims.length).fill(0);
  return Int32Array.from(indices.data, (index) => {
    let offset = indexOf(index, dims[axis]!) * strides[axis]!;
    for (let a = 0; a < place.length; a++) if (a !== axis) offset += place[a]! * strides[a]!;
    for (let a = place.length - 1; a >= 0 && ++place[a]! === indices.dims[a]; a--) place[a] = 0;
    return offset;
  });
}

/** The size of the last axis of the indices: the number of axes that they index. */
export function depthOf(indices: TensorType, deepest: number): number {
  const depth = acceptIndices(indices).dims.at(-1);
  if (typeof depth === 'number' && depth >= 1 && depth <= deepest) return depth;
  throw mismatch(
    'the last axis of the indices names no axes',
    `a size of 1 to ${deepest}`,
    depth === undefined ? 'no axis' : String(depth),
  );
}

/** For each index vector, the offset of its slice in an array of these dims. */
export function rowOffsets(dims: readonly number[], indices: NDArray): Int32Array {
  const depth = indices.dims.at(-1)!;
  const strides = rowMajorStrides(dims);
  return Int32Array.from({ length: countOf(indices.dims.slice(0, -1)) }, (_, row) => {
    let offset = 0;
    for (let a = 0; a < depth; a++) offset += indexOf(indices.data[row * depth + a]!, dims[a]!) * strides[a]!;
    return offset;
  });
}
