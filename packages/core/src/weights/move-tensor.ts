// Weights moved and cast as they are stored, without the detour through float64.
import type { Value } from '../graph';
import type { Attrs, Op } from '../op';
import { Cast } from '../ops/cast';
import { Expand, OnnxExpand } from '../ops/expand';
import { Concat, OnnxSplit, Split } from '../ops/join';
import { Transpose } from '../ops/movement';
import { OnnxReshape, Reshape, Squeeze, Unsqueeze } from '../ops/reshape';
import { Gather, indexOf } from '../ops/select';
import { OnnxSlice, Slice } from '../ops/slice';
import { rowMajorStrides } from '../ops/strides';
import { arrayOf, bitsOf, countOf, type DType, type Tensor, type TensorData } from '../tensor';
import { castTensor, toArray } from '../tensor-convert';
import { readStrided } from './strided';

/** What an op makes of tensors: `result` is the one of its outputs that is wanted. */
type Move<A> = (operands: readonly Tensor[], attrs: A, result: Value) => Tensor;

/** Where the elements of a result lie in the operand. */
interface View {
  readonly strides: readonly number[];
  readonly start?: number;
}
const dimsOf = (v: Value): readonly number[] => v.dims as readonly number[];
const same = (x: Tensor, result: Value): Tensor => ({ ...x, dims: dimsOf(result) });
const viewed = (x: Tensor, result: Value, { strides, start = 0 }: View): Tensor => {
  const dims = dimsOf(result);
  return { dtype: x.dtype, dims, data: readStrided(x.data, dims, strides, start) };
};

const slice: Move<Parameters<typeof Slice.infer>[1]> = ([x], { axes, starts, steps }, result) => {
  const whole = rowMajorStrides(x!.dims);
  const strides = whole.map((stride, axis) => stride * (steps[axes.indexOf(axis)] ?? 1));
  const start = axes.reduce((n, axis, i) => n + (starts[i] as number) * whole[axis]!, 0);
  return viewed(x!, result, { strides, start });
};

const part: Move<Parameters<typeof Split.infer>[1]> = ([x], { sizes, axis }, result) => {
  const strides = rowMajorStrides(x!.dims);
  const before = (sizes.slice(0, result.index) as readonly number[]).reduce((n, size) => n + size, 0);
  return viewed(x!, result, { strides, start: before * strides[axis]! });
};

const expanded: Move<unknown> = ([x], _, result) => {
  const added = result.rank - x!.dims.length;
  const whole = rowMajorStrides(x!.dims);
  const strides = result.dims.map((_, axis) => (axis < added || x!.dims[axis - added] === 1 ? 0 : whole[axis - added]!));
  return viewed(x!, result, { strides });
};

const entry = <A extends Attrs>(op: Op<A>, move: Move<A>): readonly [object, Move<Attrs>] => [op, move as Move<Attrs>];
const moves: ReadonlyMap<object, Move<Attrs>> = /* @__PURE__ */ new Map([
  entry(Transpose, ([x], { perm }, y) => {
    const strides = rowMajorStrides(x!.dims);
    return viewed(x!, y, { strides: perm.map((axis) => strides[axis]!) });
  }),
  entry(Slice, slice),
  entry(OnnxSlice, slice),
  entry(Split, part),
  entry(OnnxSplit, part),
  entry(Expand, expanded),
  entry(OnnxExpand, expanded),
  entry(Concat, (xs, { axis }, y) => joined(xs, axis, y)),
  entry(Gather, ([x, indices], { axis }, y) => picked(x!, indices!, axis, y)),
  entry(Cast, ([x], { to }) => castTensor(x!, to)),
  ...[Reshape, OnnxReshape, Squeeze, Unsqueeze].map((op) => entry(op as Op, ([x], _, y) => same(x!, y))),
]);

/** A result of a node that only moves or casts elements; undefined for any other. */
export function moveTensor(result: Value, operands: readonly (Tensor | undefined)[]): Tensor | undefined {
  const { op, attrs } = result.producer!;
  const move = moves.get(op);
  if (!move || operands.some((x) => !x || bitsOf(x.dtype) < 8)) return undefined;
  return move(operands as readonly Tensor[], attrs, result);
}

const empty = (dtype: DType, count: number): TensorData => new (arrayOf(dtype))(count);

function joined(xs: readonly Tensor[], axis: number, result: Value): Tensor {
  const dims = dimsOf(result);
  const data = empty(result.dtype, countOf(dims));
  const rows = countOf(dims.slice(0, axis));
  const width = countOf(dims.slice(axis));
  let at = 0;
  for (const x of xs) {
    const own = countOf(x.dims.slice(axis));
    for (let row = 0; row < rows; row++) data.set(x.data.subarray(row * own, (row + 1) * own) as never, row * width + at);
    at += own;
  }
  return { dtype: result.dtype, dims, data };
}

function picked(x: Tensor, indices: Tensor, axis: number, result: Value): Tensor {
  const dims = dimsOf(result);
  const data = empty(x.dtype, countOf(dims));
  const size = x.dims[axis]!;
  const row = countOf(x.dims.slice(axis + 1));
  const rows = Array.from(toArray(indices).data, (i) => indexOf(i, size));
  let at = 0;
  for (let o = 0; o < countOf(x.dims.slice(0, axis)); o++)
    for (const i of rows) {
      const from = (o * size + i) * row;
      data.set(x.data.subarray(from, from + row) as never, at);
      at += row;
    }
  return { dtype: x.dtype, dims, data };
}
