// Moves and casts weights as they are stored, without conversion to float64.

import type { Attrs, Op } from '../ir/define-op';
import type { Value } from '../ir/graph';
import { Cast } from '../ops/cast';
import { Expand, OnnxExpand } from '../ops/expand';
import { indexOf } from '../ops/indices';
import { Concat, OnnxSplit, Split } from '../ops/join';
import { Transpose } from '../ops/movement';
import { OnnxReshape, Reshape, Squeeze, Unsqueeze } from '../ops/reshape';
import { Gather } from '../ops/select';
import { OnnxSlice, Slice } from '../ops/slice';
import { rowMajorStrides } from '../ops/strides';
import { castTensor, tensorFromBytes, toArray } from '../tensor/convert';
import { Scratch } from '../tensor/scratch';
import { arrayOf, bitsOf, bytesOf, countOf, type DType, type Tensor, type TensorData } from '../tensor/tensor';
import { readStrided, readStridedPieces } from './strided';

/** Computes an op on tensors: `result` is the requested output, in memory of `scratch` if that is given. */
type Move<A> = (operands: readonly Tensor[], attrs: A, result: Value, scratch?: Scratch) => Tensor;

/** The location of a result's elements in the operand. */
interface View {
  readonly strides: readonly number[];
  readonly start?: number;
}
/** The strided view of an op that only rearranges its operand. */
type Look<A> = (operand: Pick<Tensor, 'dims'>, attrs: A, result: Value) => View;

const dimsOf = (v: Value): readonly number[] => v.dims as readonly number[];
const same = (x: Tensor, result: Value): Tensor => ({ ...x, dims: dimsOf(result) });

const slice: Look<Parameters<typeof Slice.infer>[1]> = ({ dims }, { axes, starts, steps }) => {
  const whole = rowMajorStrides(dims);
  const strides = whole.map((stride, axis) => stride * (steps[axes.indexOf(axis)] ?? 1));
  return { strides, start: axes.reduce((n, axis, i) => n + (starts[i] as number) * whole[axis]!, 0) };
};

const part: Look<Parameters<typeof Split.infer>[1]> = ({ dims }, { sizes, axis }, result) => {
  const strides = rowMajorStrides(dims);
  const before = (sizes.slice(0, result.index) as readonly number[]).reduce((n, size) => n + size, 0);
  return { strides, start: before * strides[axis]! };
};

const expanded: Look<unknown> = ({ dims }, _, result) => {
  const added = result.rank - dims.length;
  const whole = rowMajorStrides(dims);
  return {
    strides: result.dims.map((_, axis) => (axis < added || dims[axis - added] === 1 ? 0 : whole[axis - added]!)),
  };
};

const look = <A extends Attrs>(op: Op<A>, view: Look<A>): readonly [object, Look<Attrs>] => [op, view as Look<Attrs>];
const looks: ReadonlyMap<object, Look<Attrs>> = /* @__PURE__ */ new Map([
  look(Transpose, ({ dims }, { perm }) => {
    const strides = rowMajorStrides(dims);
    return { strides: perm.map((axis) => strides[axis]!) };
  }),
  look(Slice, slice),
  look(OnnxSlice, slice),
  look(Split, part),
  look(OnnxSplit, part),
  look(Expand, expanded),
  look(OnnxExpand, expanded),
]);

const entry = <A extends Attrs>(op: Op<A>, move: Move<A>): readonly [object, Move<Attrs>] => [op, move as Move<Attrs>];
const moves: ReadonlyMap<object, Move<Attrs>> = /* @__PURE__ */ new Map([
  entry(Concat, (xs, { axis }, y, scratch) => joined(xs, axis, y, scratch)),
  entry(Gather, ([x, indices], { axis }, y) => picked(x!, indices!, axis, y)),
  entry(Cast, ([x], { to }) => castTensor(x!, to)),
  ...[Reshape, OnnxReshape, Squeeze, Unsqueeze].map((op) => entry(op as Op, ([x], _, y) => same(x!, y))),
]);

const movable = (operands: readonly (Tensor | undefined)[]): operands is readonly Tensor[] =>
  operands.every((x) => x && bitsOf(x.dtype) >= 8);

/** Whether an op moves elements as they are stored, so that integers beyond 2^53 remain exact. */
export const movesElements = (op: object): boolean => looks.has(op) || moves.has(op);

/** A result of a node that only moves or casts elements; undefined for any other. */
export function moveTensor(result: Value, operands: readonly (Tensor | undefined)[], scratch?: Scratch): Tensor | undefined {
  const { op, attrs } = result.producer!;
  if (!movable(operands)) return undefined;
  const view = looks.get(op)?.(operands[0]!, attrs, result);
  if (!view) return moves.get(op)?.(operands, attrs, result, scratch);
  const { dtype, data } = operands[0]!;
  return { dtype, dims: dimsOf(result), data: readStrided(data, dimsOf(result), view.strides, view.start) };
}

/** The same piece by piece, see {@link readStridedPieces}; undefined for a node that does more than rearrange its operand. */
export function movedPieces(
  result: Value,
  operands: readonly (Tensor | undefined)[],
  room: Uint8Array,
): Iterable<TensorData> | undefined {
  const { op, attrs } = result.producer!;
  if (!movable(operands)) return undefined;
  const view = looks.get(op)?.(operands[0]!, attrs, result);
  return view && readStridedPieces(operands[0]!.data, dimsOf(result), view.strides, view.start ?? 0, room);
}

const empty = (dtype: DType, count: number): TensorData => new (arrayOf(dtype))(count);

function joined(xs: readonly Tensor[], axis: number, { dtype, dims: sizes }: Value, scratch?: Scratch): Tensor {
  const dims = sizes as readonly number[];
  const { data } = tensorFromBytes(dtype, dims, (scratch ?? new Scratch()).take(bytesOf(dtype, countOf(dims))));
  const rows = countOf(dims.slice(0, axis));
  const width = countOf(dims.slice(axis));
  let at = 0;
  for (const x of xs) {
    const own = countOf(x.dims.slice(axis));
    for (let row = 0; row < rows; row++) data.set(x.data.subarray(row * own, (row + 1) * own) as never, row * width + at);
    at += own;
  }
  return { dtype, dims, data };
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
