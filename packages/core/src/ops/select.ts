// Choosing by index and by size: gathering, scattering, one-hot rows, the largest elements.
import { type Dim, dim } from '../dim';
import { apply, mismatch, type Value } from '../graph';
import { defineOp } from '../op';
import type { DType, NDArray } from '../tensor';
import { accept } from './accept';
import { acceptIndices } from './gather';
import { scatterElements } from './scatter';
import { fill, size, sizes } from './shape';
import { axisOf, offsetsAcross, offsetsAlong } from './strides';

export * from './gather';
export * from './scatter';

type OneHotAttrs = { readonly axis: number; readonly depth: Dim };

/** ONNX OneHot. Operands: indices, depth as int64 [], the values off and on as [2]. */
export const OneHot = defineOp<OneHotAttrs>({
  key: 'OneHot',
  since: 11,
  attributes: { axis: 'int', depth: 'data' },
  infer([indices, , values], { axis, depth }) {
    const { dims } = acceptIndices(indices);
    if (values?.dims.length !== 1 || values.dims[0] !== 2) throw mismatch('the values are no pair', '[2]', `[${values?.dims}]`);
    return [{ dtype: values.dtype, dims: dims.toSpliced(axisOf(axis, dims.length + 1), 0, depth) }];
  },
  evaluate([indices, depth, values], { axis }) {
    const n = depth!.data[0]!;
    const dims = indices!.dims.toSpliced(axis, 0, n);
    const [off, on] = values!.data as unknown as [number, number];
    const data = new Float64Array(indices!.data.length * n).fill(off);
    const stride = indices!.dims.slice(axis).reduce((a, b) => a * b, 1);
    offsetsAcross(dims, [axis]).forEach((base, i) => {
      const index = indices!.data[i]!;
      if (index >= -n && index < n) data[base + (index < 0 ? index + n : index) * stride] = on;
    });
    return [{ dtype: values!.dtype, dims, data }];
  },
  // The values are constants.
  vjp: () => [],
});

/** `axis`: where the new axis stands, default last. `values`: those off and on, default 0 and 1. */
export type OneHotOptions = {
  readonly axis?: number;
  readonly dtype?: DType;
  readonly values?: readonly [off: number, on: number];
};
/**
 * A new axis of size `depth` that is 1 at the index and 0 elsewhere; 0 everywhere for an index out of range. A negative index counts from
 * the end.
 *
 * Shapes   indices [a, b] → [a, b, depth]
 * Dtypes   indices int64, int32 → `dtype`, default that of the graph's arithmetic
 */
export function oneHot(indices: Value, depth: Dim, { axis = -1, dtype, values = [0, 1] }: OneHotOptions = {}): Value {
  const g = indices.graph.root;
  const count = dim(depth);
  const at = axis < 0 ? axis + indices.rank + 1 : axis;
  return apply(OneHot, [indices, size(g, count, [indices]), g.number(values, dtype ?? g.dtype)], { axis: at, depth: count })[0]!;
}

type TopKAttrs = { readonly axis: number; readonly largest: number; readonly sorted: number; readonly k: Dim };

/** ONNX TopK. Operands: x, k as int64 [1]. */
export const TopK = defineOp<TopKAttrs>({
  key: 'TopK',
  since: 11,
  attributes: { axis: 'int', largest: 'int', sorted: 'int', k: 'data' },
  infer([x], { axis, k }) {
    const { dtype, dims } = accept(x, 'number');
    const at = axisOf(axis, dims.length);
    const length = dims[at]!;
    if (typeof k === 'number' && (k < 0 || (typeof length === 'number' && k > length)))
      throw mismatch(`there are no ${k} elements on axis ${axis}`, `0 to ${length}`, String(k));
    const cut = dims.with(at, k);
    return [
      { dtype, dims: cut },
      { dtype: 'int64', dims: cut },
    ];
  },
  evaluate([x, count], { axis, largest }) {
    const k = count!.data[0]!;
    const along = offsetsAlong(x!.dims, [axis]);
    if (k > along.length) throw mismatch(`there are no ${k} elements on axis ${axis}`, `0 to ${along.length}`, String(k));
    const dims = x!.dims.with(axis, k);
    const values: NDArray = { dtype: x!.dtype, dims, data: new Float64Array(dims.reduce((a, b) => a * b, 1)) };
    const indices: NDArray = { dtype: 'int64', dims, data: new Float64Array(values.data.length) };
    const targets = offsetsAlong(dims, [axis]);
    const starts = offsetsAcross(dims, [axis]);
    offsetsAcross(x!.dims, [axis]).forEach((base, n) => {
      const at = (i: number) => x!.data[base + along[i]!]!;
      // The sort is stable, so of equal elements the first comes first.
      const order = Array.from(along.keys()).sort((i, j) => (largest ? at(j) - at(i) : at(i) - at(j)));
      for (let i = 0; i < k; i++) {
        const target = starts[n]! + targets[i]!;
        values.data[target] = at(order[i]!);
        indices.data[target] = order[i]!;
      }
    });
    return [values, indices];
  },
  vjp: ({ operands: [x], outputs: [, indices], attrs: { axis } }, [g]) =>
    g && x ? [scatterElements(fill(x, x.dims, 0, g.dtype), indices, g, axis)] : [],
});

/** `axis`: default last. `largest`: default true. `sorted`: in order, default true. */
export type TopKOptions = { readonly axis?: number; readonly largest?: boolean; readonly sorted?: boolean };
/**
 * The k largest (or smallest) elements along an axis and their indices; of equal elements the one with the lower index first.
 *
 * Shapes   x [a, n] → values [a, k], indices int64 [a, k]
 * Dtypes   numbers
 * @throws ShapeError when the axis does not exist or has fewer than k elements
 */
export function topK(
  x: Value,
  k: Dim,
  { axis = -1, largest = true, sorted = true }: TopKOptions = {},
): readonly [values: Value, indices: Value] {
  const count = dim(k);
  const at = axis < 0 ? axis + x.rank : axis;
  const attrs: TopKAttrs = { axis: at, largest: largest ? 1 : 0, sorted: sorted ? 1 : 0, k: count };
  const [values, indices] = apply(TopK, [x, sizes(x, [count], [x])], attrs);
  return [values!, indices!];
}
