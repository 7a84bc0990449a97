// Broadcasting: operands of different dims are aligned at their last axes, and axes of size 1 are repeated.
import type { Dim } from '../dim/dim';
import { mismatch, type Value, type Vocabulary } from '../ir/graph';
import type { DType, NDArray } from '../tensor/tensor';
import { fitting } from './accept';
import { offsetsOf, rowMajorStrides } from './strides';

/**
 * The dims that all of these broadcast to. The number 1 broadcasts; two different names are different sizes.
 * @throws ShapeError when two sizes of an axis differ and neither is 1
 */
export function broadcastDims(...all: readonly (readonly Dim[])[]): Dim[] {
  const rank = Math.max(0, ...all.map((dims) => dims.length));
  return Array.from({ length: rank }, (_, i) => {
    const sizes = all.map((dims) => dims[i - rank + dims.length] ?? 1).filter((d) => d !== 1);
    const other = sizes.find((d) => d !== sizes[0]);
    if (other === undefined) return sizes[0] ?? 1;
    throw mismatch(
      `${sizes[0]} and ${other} cannot be broadcast together`,
      `equal sizes or 1 on axis ${i - rank}`,
      all.map(show).join(' and '),
    );
  });
}

const show = (dims: readonly Dim[]): string => `[${dims.join(', ')}]`;

/** True when broadcasting all operands changes none of these dims. */
export function keepsDims(dims: readonly Dim[], ...others: readonly (readonly Dim[])[]): boolean {
  const all = broadcastDims(dims, ...others);
  return all.length === dims.length && all.every((d, i) => d === dims[i]);
}

/** The offset in row-major data of the element at `index`, for dims that broadcast to its rank. */
export function broadcastIndex(dims: readonly number[], index: readonly number[]): number {
  const skipped = index.length - dims.length;
  return dims.reduce((at, size, axis) => at * size + (size === 1 ? 0 : index[axis + skipped]!), 0);
}

/** For every element of an array of dims `to`, in order, the offset of its element in an array of dims `from`. */
export function broadcastOffsets(from: readonly number[], to: readonly number[]): Int32Array {
  const strides = rowMajorStrides(from);
  const added = to.length - from.length;
  return offsetsOf(
    to,
    to.map((_, i) => (i < added || from[i - added] === 1 ? 0 : strides[i - added]!)),
  );
}

/** The array broadcast to dims; itself if it has them. */
export function broadcastTo(x: NDArray, dims: readonly number[]): NDArray {
  if (x.dims.length === dims.length && x.dims.every((d, i) => d === dims[i])) return x;
  const offsets = broadcastOffsets(x.dims, dims);
  const data = new Float64Array(offsets.length);
  for (let i = 0; i < data.length; i++) data[i] = x.data[offsets[i]!]!;
  return { dtype: x.dtype, dims, data };
}

/** Applies f to the elements of operands broadcast together. */
export function mapBroadcast(operands: readonly NDArray[], dtype: DType, f: (...x: number[]) => number): NDArray {
  const dims = broadcastDims(...operands.map((o) => o.dims)) as number[];
  const [a, b, ...others] = operands.map((o) => broadcastTo(o, dims).data);
  const fit = fitting(dtype);
  if (!a || !b || others.length) {
    const all = [a, b, ...others].filter((d) => d !== undefined);
    return { dtype, dims, data: a!.map((_, i) => fit(f(...all.map((d) => d[i]!)))) };
  }
  return { dtype, dims, data: a.map((x, i) => fit(f(x, b[i]!))) };
}

/** The gradient of an operand of these dims that was broadcast: summed over the axes that were added or repeated. */
export function unbroadcast(grad: Value, dims: readonly Dim[], { reduceSum }: Vocabulary): Value {
  const added = grad.rank - dims.length;
  const leading = Array.from({ length: added }, (_, i) => i);
  const whole = added ? reduceSum(grad, leading, { keepDims: false }) : grad;
  const stretched = dims.flatMap((d, i) => (d === 1 && whole.dims[i] !== 1 ? [i] : []));
  return stretched.length ? reduceSum(whole, stretched) : whole;
}
