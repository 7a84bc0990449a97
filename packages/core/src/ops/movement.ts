// Data movement: Transpose, and functions composed of transposes, slices and reshapes.
import { addDims, type Dim, divDims, floorDivDims, mulDims, subDims } from '../dim/dim';
import { aList, given } from '../given';
import { defineOp, noFlops, type Op } from '../ir/define-op';
import { apply, madeBy, mismatch, type Value } from '../ir/graph';
import { accept } from './accept';
import { concat } from './join';
import { reshape } from './reshape';
import { Slice, slice } from './slice';
import { axisOf, rowMajorStrides } from './strides';
import { readView } from './views';

export * from './expand';
export * from './join';
export * from './pad';
export * from './reshape';
export * from './slice';

type TransposeAttrs = { readonly perm: readonly number[] };

/** ONNX Transpose. */
export const Transpose: Op<TransposeAttrs> = defineOp<TransposeAttrs>({
  key: 'Transpose',
  flops: noFlops,
  since: 13,
  attributes: { perm: 'ints' },
  infer([x], { perm }) {
    const { dtype, dims } = accept(x, 'any');
    const sorted = [...perm].sort((a, b) => a - b);
    if (sorted.length !== dims.length || sorted.some((axis, i) => axis !== i))
      throw mismatch('perm does not name every axis once', `an order of 0 to ${dims.length - 1}`, `[${perm.join(', ')}]`);
    return [{ dtype, dims: perm.map((axis) => dims[axis]!) }];
  },
  simplify([x], { perm }, { reshape }) {
    const [type] = Transpose.infer([x], { perm });
    const moving = perm.filter((axis) => x!.dims[axis] !== 1);
    // Only axes of size 1 move, so the order of elements does not change.
    if (moving.every((axis, i) => i === 0 || axis > moving[i - 1]!)) return reshape(x!, type!.dims);
    const before = madeBy(x, Transpose);
    return (
      before &&
      transpose(
        before.operands[0]!,
        perm.map((axis) => before.attrs.perm[axis]!),
      )
    );
  },
  vjp: ({ attrs: { perm } }, [grad]) => [
    grad &&
      transpose(
        grad,
        perm.map((_, axis) => perm.indexOf(axis)),
      ),
  ],
  evaluate([x], { perm }) {
    const strides = rowMajorStrides(x!.dims);
    const dims = perm.map((axis) => x!.dims[axis]!);
    const data = readView(
      x!.data,
      dims,
      perm.map((axis) => strides[axis]!),
    );
    return [{ dtype: x!.dtype, dims, data }];
  },
});

/**
 * x with its axes in another order: axis i of the result is axis `perm[i]` of x.
 *
 * Shapes   x [batch, seq, heads, dim], perm [0, 2, 1, 3] → [batch, heads, seq, dim]
 * Throws   ShapeError when perm does not name every axis once
 * Lowers   everywhere: Transpose
 * Example  const y = ops.transpose(x, [0, 2, 1, 3]);
 */
export const transpose = (x: Value, perm: readonly number[]): Value => {
  given('transpose', { x, perm }, { perm: aList });
  return apply(Transpose, [x], { perm })[0]!;
};

/**
 * x with its last two axes exchanged.
 *
 * Shapes   x [..., a, b] → [..., b, a]
 * Throws   nothing
 * Lowers   everywhere: Transpose
 * Example  const scores = ops.matmul(q, ops.swapLast(k));
 */
export function swapLast(x: Value): Value {
  given('swapLast', { x });
  const order = x.dims.map((_, i) => i);
  return transpose(x, [...order.slice(0, -2), ...order.slice(-2).reverse()]);
}

/**
 * x rolled along an axis: element i moves to index i + shift, and elements past one end reappear at the other.
 *
 * Shapes   x any → the same
 * Throws   ShapeError when there is no such axis
 * Lowers   everywhere: Slice, Concat
 *
 * @param shift any integer if the size of the axis is known, otherwise from minus the size to the size
 */
export function roll(x: Value, shift: Dim, axis: number): Value {
  given('roll', { x });
  const along = x.graph.located(Slice.key, [x], () => axisOf(axis, x.rank));
  const whole = x.dims[along]!;
  const backwards = typeof shift === 'number' && shift < 0;
  const both = typeof shift === 'number' && typeof whole === 'number';
  const moved = both ? ((shift % whole) + whole) % whole : backwards ? addDims(whole, shift) : shift;
  if (whole === 0 || moved === 0) return x;
  const cut = subDims(whole, moved);
  const part = (start: Dim, end: Dim) => slice(x, { axes: [along], starts: [start], ends: [end] });
  return concat([part(cut, whole), part(0, cut)], along);
}

/**
 * All windows of `size` neighbours on an axis whose first elements are `step` apart. Computed in blocks, as large as size and step allow:
 * a reshape if windows do not overlap, otherwise as many slices as there are blocks in a window. Elements after the last window are omitted.
 *
 * Shapes   x [batch, 24, 5], axis 1, size 8, step 4 → [batch, 5, 8, 5]; the count is floorDiv(n - size, step) + 1
 * Throws   ShapeError when size or step is not a positive integer, or a known axis is shorter than a window
 * Lowers   everywhere: Slice, Reshape, Concat
 */
export function windows(x: Value, axis: number, size: number, step: number): Value {
  given('windows', { x });
  const along = x.graph.located('windows', [x], () => {
    for (const n of [size, step])
      if (!Number.isInteger(n) || n < 1) throw mismatch('size and step must be positive integers', 'at least 1', String(n));
    const found = axisOf(axis, x.rank);
    const whole = x.dims[found]!;
    if (typeof whole === 'number' && whole < size)
      throw mismatch(`axis ${found} is shorter than a window`, `at least ${size}`, String(whole));
    return found;
  });
  const block = gcd(size, step);
  const count = addDims(floorDivDims(subDims(x.dims[along]!, size), step), 1);
  const used = addDims(mulDims(subDims(count, 1), step), size);
  const blocks = reshape(
    slice(x, { axes: [along], starts: [0], ends: [used] }),
    x.dims.toSpliced(along, 1, divDims(used, block), block),
  );
  const [stride, perWindow] = [step / block, size / block];
  const last = mulDims(subDims(count, 1), stride);
  const parts = Array.from({ length: perWindow }, (_, i) =>
    slice(blocks, { axes: [along], starts: [i], ends: [addDims(last, i + 1)], steps: [stride] }),
  );
  return concat(parts, along + 1);
}

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));
