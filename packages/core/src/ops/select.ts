// Selection by index and by size: gather, scatter, one-hot, top-k.
import { type Dim, dim } from '../dim/dim';
import { anObject, given } from '../given';
import { defineOp } from '../ir/define-op';
import { apply, mismatch, type Value } from '../ir/graph';
import type { DType, NDArray } from '../tensor/tensor';
import { accept } from './accept';
import { cast } from './cast';
import { equal, where } from './comparison';
import { acceptIndices } from './indices';
import { reshape, unsqueeze } from './movement';
import { iota, sizes } from './shape';
import { axisOf, offsetsAcross, offsetsAlong } from './strides';

export * from './gather';
export * from './scatter';

/** `axis`: position of the new axis, default last. `values`: those off and on, default 0 and 1. */
export type OneHotOptions = {
  readonly axis?: number;
  readonly dtype?: DType;
  readonly values?: readonly [off: number, on: number];
};
/**
 * A new axis of size `depth` that is 1 at the index and 0 elsewhere; 0 everywhere for an index that is negative or too large.
 *
 * Shapes   indices [a, b] → [a, b, depth]
 * Dtypes   indices int64, int32 → `dtype`, default that of the graph's arithmetic
 * Throws   ShapeError when the axis does not exist or the indices are not integers
 * Lowers   everywhere: Equal, Cast
 */
export function oneHot(indices: Value, depth: Dim, o: OneHotOptions = {}): Value {
  given('oneHot', { indices, options: o }, { options: anObject });
  const { axis = -1, dtype, values } = o;
  const g = indices.graph.root;
  // Not ONNX's OneHot, which runtimes support for few dtypes.
  const at = g.located('oneHot', [indices], () => axisOf(axis, acceptIndices(indices).dims.length + 1));
  const classes = reshape(
    iota(indices, depth, indices.dtype),
    Array.from({ length: indices.rank + 1 }, (_, i) => (i === at ? depth : 1)),
  );
  const hit = equal(unsqueeze(indices, [at]), classes);
  const to = dtype ?? indices.graph.dtype;
  return values ? where(hit, g.number(values[1], to), g.number(values[0], to)) : cast(hit, to);
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
  vjp: ({ operands: [x], outputs: [, indices], attrs: { axis } }, [g], { fill, scatterElements }) =>
    g && x ? [scatterElements(fill(x, x.dims, 0, g.dtype), indices, g, axis)] : [],
});

/** `axis`: default last. `largest`: default true. `sorted`: in order, default true. */
export type TopKOptions = { readonly axis?: number; readonly largest?: boolean; readonly sorted?: boolean };
/**
 * The k largest (or smallest) elements along an axis and their indices; of equal elements the one with the lower index first.
 *
 * Shapes   x [a, n] → values [a, k], indices int64 [a, k]
 * Dtypes   numbers
 * Throws   ShapeError when the axis does not exist or has fewer than k elements
 * Lowers   everywhere: TopK
 * Example  const [values, indices] = ops.topK(x, 5);
 */
export function topK(x: Value, k: Dim, o: TopKOptions = {}): readonly [values: Value, indices: Value] {
  given('topK', { x, options: o }, { options: anObject });
  const { axis = -1, largest = true, sorted = true } = o;
  const count = dim(k);
  const at = axis < 0 ? axis + x.rank : axis;
  const attrs: TopKAttrs = { axis: at, largest: largest ? 1 : 0, sorted: sorted ? 1 : 0, k: count };
  const [values, indices] = apply(TopK, [x, sizes(x, [count], [x])], attrs);
  return [values!, indices!];
}
