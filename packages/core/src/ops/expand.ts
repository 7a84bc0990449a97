// Expand and Tile: repetition of elements.
import { type Dim, dim, mulDims } from '../dim/dim';
import { aList, given } from '../given';
import { defineOp, noFlops, type Op, sameDims, type TensorType } from '../ir/define-op';
import { apply, madeBy, mismatch, type Value, type Vocabulary } from '../ir/graph';
import type { NDArray } from '../tensor/tensor';
import { accept } from './accept';
import { broadcastDims, broadcastTo, unbroadcast } from './broadcast';
import { rowMajorStrides } from './strides';
import { readView } from './views';

type ExpandAttrs = { readonly dims: readonly Dim[] };

function inferExpand([x]: readonly (TensorType | undefined)[], { dims }: ExpandAttrs): readonly TensorType[] {
  const { dtype, dims: before } = accept(x, 'any');
  if (before.length > dims.length)
    throw mismatch('expand cannot remove axes', `at least ${before.length} sizes`, String(dims.length));
  if (!sameDims(broadcastDims(before, dims), dims)) {
    const show = (ds: readonly Dim[]) => `[${ds.join(', ')}]`;
    throw mismatch('only axes of size 1 can be expanded', `sizes that ${show(before)} broadcasts to`, show(dims));
  }
  return [{ dtype, dims }];
}

/** The high-level op: x repeated along its axes of size 1 and along new leading axes. */
export const Expand: Op<ExpandAttrs> = defineOp<ExpandAttrs>({
  key: 'onnxformers.Expand',
  flops: noFlops,
  attributes: { dims: 'data' },
  infer: inferExpand,
  simplify([x], { dims }) {
    if (sameDims(x!.dims, dims)) return x;
    const before = madeBy(x, Expand);
    return before && expand(before.operands[0]!, dims);
  },
  decompose([x], { dims }, { OnnxExpand, sizes, slice }) {
    const added = dims.length - x!.rank;
    // A shape of 0 is read as 1 by ONNX's shape inference, and then by ONNX Runtime.
    const none = dims.flatMap((d, i) => (d === 0 && x!.dims[i - added] !== 0 ? [i] : []));
    if (none.length) {
      const [starts, ends] = [none.map(() => 0), none.map(() => 0)];
      const one = dims.map((d, i) => (none.includes(i) ? 1 : d));
      return [slice(expand(x!, one), { axes: none, starts, ends })];
    }
    const asked = dims.map((d, i) => (d === x!.dims[i - added] ? 1 : d));
    return apply(OnnxExpand, [x, sizes(x!.graph, asked, [x!])], { dims });
  },
  vjp: ({ operands: [x] }, [grad], ops) => [grad && unbroadcast(grad, x!.dims, ops)],
  evaluate: ([x], { dims }, bound) => [
    broadcastTo(
      x!,
      dims.map((d) => bound.of(d)),
    ),
  ],
});

/** ONNX Expand. Operands: x, and the sizes as int64, where 1 keeps the size that x has. */
export const OnnxExpand = defineOp<ExpandAttrs>({
  key: 'Expand',
  flops: noFlops,
  since: 13,
  attributes: { dims: 'data' },
  infer: inferExpand,
  vjp: ({ operands: [x] }, [grad], ops) => [grad && unbroadcast(grad, x!.dims, ops), undefined],
  evaluate: ([x, shape]) => [broadcastTo(x!, broadcastDims(x!.dims, Array.from(shape!.data)) as number[])],
});

/**
 * x repeated along its axes of size 1 and along new leading axes. Arithmetic broadcasts anyway and does not need this.
 *
 * Shapes   [1, 5] → [batch, seq, 5]
 * Throws   ShapeError when an axis whose size is not 1 would change
 * Lowers   everywhere: Expand
 * Example  const y = ops.expand(x, ['batch', 'seq', 5]);
 */
export const expand = (x: Value, dims: readonly Dim[]): Value => {
  given('expand', { x, dims }, { dims: aList });
  return apply(Expand, [x], { dims: dims.map(dim) })[0]!;
};

type TileAttrs = { readonly repeats: readonly Dim[] };

function inferTile([x]: readonly (TensorType | undefined)[], { repeats }: TileAttrs): readonly TensorType[] {
  const { dtype, dims } = accept(x, 'any');
  if (repeats.length !== dims.length)
    throw mismatch('every axis requires a number of repeats', String(dims.length), String(repeats.length));
  const negative = repeats.find((r) => typeof r === 'number' && r < 0);
  if (negative !== undefined) throw mismatch('a number of repeats is negative', 'at least 0', String(negative));
  return [{ dtype, dims: dims.map((d, i) => mulDims(d, repeats[i]!)) }];
}

function repeated(x: NDArray, repeats: readonly number[]): NDArray {
  const strides = rowMajorStrides(x.dims);
  const pairs = <T>(f: (axis: number) => readonly [T, T]): T[] => x.dims.flatMap((_, axis) => f(axis));
  const data = readView(
    x.data,
    pairs((i) => [repeats[i]!, x.dims[i]!]),
    pairs((i) => [0, strides[i]!]),
  );
  return { dtype: x.dtype, dims: x.dims.map((d, i) => d * repeats[i]!), data };
}

function tileGradient(x: Value, grad: Value, repeats: readonly Dim[], { reduceSum, reshape }: Vocabulary): Value {
  const split = reshape(
    grad,
    x.dims.flatMap((d, i) => [repeats[i]!, d]),
  );
  return reduceSum(
    split,
    x.dims.map((_, i) => 2 * i),
    { keepDims: false },
  );
}

/** The high-level op: x repeated along each axis. */
export const Tile = defineOp<TileAttrs>({
  key: 'onnxformers.Tile',
  flops: noFlops,
  attributes: { repeats: 'data' },
  infer: inferTile,
  simplify: ([x], { repeats }) => (repeats.length === x!.rank && repeats.every((r) => r === 1) ? x : undefined),
  decompose: ([x], { repeats }, { OnnxTile, sizes }) => apply(OnnxTile, [x, sizes(x!.graph, repeats, [x!])], { repeats }),
  vjp: ({ operands: [x], attrs: { repeats } }, [grad], ops) => [grad && tileGradient(x!, grad, repeats, ops)],
  evaluate: ([x], { repeats }, bound) => [
    repeated(
      x!,
      repeats.map((r) => bound.of(r)),
    ),
  ],
});

/** ONNX Tile. Operands: x, and the numbers of repeats as int64. */
export const OnnxTile = defineOp<TileAttrs>({
  key: 'Tile',
  flops: noFlops,
  since: 13,
  attributes: { repeats: 'data' },
  infer: inferTile,
  vjp: ({ operands: [x], attrs: { repeats } }, [grad], ops) => [grad && tileGradient(x!, grad, repeats, ops), undefined],
  evaluate: ([x, repeats]) => [repeated(x!, Array.from(repeats!.data))],
});

/**
 * x repeated along each axis: `[a, b]` twice is `[a, b, a, b]`.
 *
 * Shapes   x [3, seq], repeats [2, 1] → [6, seq]
 * Throws   ShapeError when the number of repeats is not that of the axes
 * Lowers   everywhere: Tile
 */
export const tile = (x: Value, repeats: readonly Dim[]): Value => {
  given('tile', { x, repeats }, { repeats: aList });
  return apply(Tile, [x], { repeats: repeats.map(dim) })[0]!;
};
