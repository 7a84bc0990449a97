// Weights moved and cast as they are stored, without the detour through float64.
import type { Node } from '../graph';
import { arrayOf, bitsOf, countOf, type DType, type Tensor, type TensorData } from '../tensor';
import { castTensor } from '../tensor-convert';

type Move = (
  operands: readonly Tensor[],
  attrs: Readonly<Record<string, unknown>>,
  dims: readonly number[],
  dtype: DType,
) => Tensor;

const sameBytes: Move = ([x], _, dims) => ({ ...x!, dims });
const moves: Readonly<Record<string, Move>> = {
  Transpose: ([x], { perm }) => transposed(x!, perm as readonly number[]),
  Cast: ([x], _, __, dtype) => castTensor(x!, dtype),
  Concat: (xs, { axis }, dims) => joined(xs, Number(axis) < 0 ? Number(axis) + dims.length : Number(axis), dims),
  Reshape: sameBytes,
  Unsqueeze: sameBytes,
  Squeeze: sameBytes,
  Identity: sameBytes,
};

/** The result of a node that only moves or casts elements; undefined for any other. */
export function moveTensor(node: Node, operands: readonly (Tensor | undefined)[]): Tensor | undefined {
  const move = moves[node.op.key];
  const first = operands[0];
  if (!move || !first || bitsOf(first.dtype) < 8 || node.outputs.length !== 1) return undefined;
  const out = node.outputs[0]!;
  return move(operands as readonly Tensor[], node.attrs, out.dims as readonly number[], out.dtype);
}

const empty = (dtype: DType, count: number): TensorData => new (arrayOf(dtype))(count);

function joined(xs: readonly Tensor[], axis: number, dims: readonly number[]): Tensor {
  const { dtype } = xs[0]!;
  const data = empty(dtype, countOf(dims));
  const rows = countOf(dims.slice(0, axis));
  const widths = xs.map((x) => countOf(x.dims.slice(axis)));
  const width = countOf(dims.slice(axis));
  let from = 0;
  xs.forEach((x, i) => {
    for (let row = 0; row < rows; row++)
      data.set(x.data.subarray(row * widths[i]!, (row + 1) * widths[i]!) as never, row * width + from);
    from += widths[i]!;
  });
  return { dtype, dims, data };
}

function transposed(x: Tensor, perm: readonly number[]): Tensor {
  const dims = perm.map((axis) => x.dims[axis]!);
  const data = empty(x.dtype, countOf(dims));
  const last = dims.length - 1;
  // A swap of the last two axes is what weights need; blocks keep both sides in the cache.
  if (last >= 1 && perm.every((axis, i) => axis === (i === last ? last - 1 : i === last - 1 ? last : i))) {
    const [rows, columns] = [x.dims[last - 1]!, x.dims[last]!];
    for (let at = 0; at < data.length; at += rows * columns) swap(x.data, data, at, rows, columns);
    return { dtype: x.dtype, dims, data };
  }
  const strides = x.dims.map((_, axis) => countOf(x.dims.slice(axis + 1)));
  const steps = perm.map((axis) => strides[axis]!);
  const index = dims.map(() => 0);
  for (let to = 0, from = 0; to < data.length; to++) {
    data[to] = x.data[from] as never;
    for (let axis = last; axis >= 0; axis--) {
      from += steps[axis]!;
      if (++index[axis]! < dims[axis]!) break;
      from -= steps[axis]! * dims[axis]!;
      index[axis] = 0;
    }
  }
  return { dtype: x.dtype, dims, data };
}

const block = 32;
function swap(from: TensorData, to: TensorData, at: number, rows: number, columns: number): void {
  for (let r0 = 0; r0 < rows; r0 += block)
    for (let c0 = 0; c0 < columns; c0 += block) {
      const [r1, c1] = [Math.min(r0 + block, rows), Math.min(c0 + block, columns)];
      for (let c = c0; c < c1; c++) for (let r = r0; r < r1; r++) to[at + c * rows + r] = from[at + r * columns + c] as never;
    }
}
