// Selection of elements and slices by index.
import type { Dim } from '../dim/dim';
import { defineOp, noFlops } from '../ir/define-op';
import { apply, mismatch, type Operand, type Value, type Vocabulary } from '../ir/graph';
import { countOf } from '../tensor/tensor';
import { accept, rankOf } from './accept';
import { acceptElementIndices, acceptIndices, depthOf, elementOffsets, indexOf, rowOffsets } from './indices';
import { axisOf } from './strides';

type AxisAttrs = { readonly axis: number };

const looksUp = ['x', 'indices'] as const;
/** ONNX Gather. */
export const Gather = defineOp<AxisAttrs, typeof looksUp>({
  key: 'Gather',
  operands: looksUp,
  flops: noFlops,
  since: 13,
  attributes: { axis: 'int' },
  infer([x, indices], { axis }) {
    const { dtype, dims } = accept(x, 'any');
    const at = axisOf(axis, dims.length);
    return [{ dtype, dims: [...dims.slice(0, at), ...acceptIndices(indices).dims, ...dims.slice(at + 1)] }];
  },
  evaluate([x, indices], { axis }) {
    const size = x!.dims[axis]!;
    const row = countOf(x!.dims.slice(axis + 1));
    const outer = countOf(x!.dims.slice(0, axis));
    const rows = Array.from(indices!.data, (i) => indexOf(i, size));
    const data = new Float64Array(outer * rows.length * row);
    for (let o = 0, at = 0; o < outer; o++)
      for (const i of rows) {
        const start = (o * size + i) * row;
        data.set(x!.data.subarray(start, start + row), at);
        at += row;
      }
    return [{ dtype: x!.dtype, dims: [...x!.dims.slice(0, axis), ...indices!.dims, ...x!.dims.slice(axis + 1)], data }];
  },
  vjp({ operands: [x, indices], attrs: { axis } }, [given], ops) {
    if (!given || !x || !indices) return [];
    const g = widened(given, ops);
    const before = countUp(0, axis);
    const picked = countUp(axis, axis + indices.rank);
    const after = countUp(axis + indices.rank, g.rank);
    const rows = ops.transpose(g, [...picked, ...before, ...after]);
    const order = [axis, ...before, ...countUp(axis + 1, x.rank)];
    const zeros = ops.fill(
      x,
      order.map((a) => x.dims[a]!),
      0,
      g.dtype,
    );
    const sum = ops.scatterND(zeros, ops.unsqueeze(indices, [-1]), rows, 'add');
    const back = countUp(0, x.rank).map((a) => order.indexOf(a));
    return [ops.cast(ops.transpose(sum, back), given.dtype)];
  },
});

// The gradient of an element that is read often is a sum of many terms, which 16 bits would not represent.
const widened = (g: Value, { cast }: Vocabulary): Value => cast(g, g.dtype === 'float64' ? g.dtype : 'float32');
const summed = (g: Value, sum: (wide: Value) => Value, ops: Vocabulary): Value => ops.cast(sum(widened(g, ops)), g.dtype);

const countUp = (from: number, to: number): number[] => Array.from({ length: Math.max(0, to - from) }, (_, i) => from + i);

/**
 * The slices of x at these indices of one axis; with axis 0 an embedding lookup. A negative index counts from the end.
 *
 * Shapes   x [a, n, b], indices [i, j], axis 1 → [a, i, j, b]
 * Dtypes   x any; indices int64, int32
 * Throws   ShapeError when the axis does not exist; the interpreter throws RunError when an index is out of range
 * Lowers   everywhere: Gather
 * Example  const row = ops.gather(x, 0, 1);
 */
export const gather = (x: Operand, indices: Operand, axis = 0): Value =>
  apply(Gather, [x, indices], { axis: axis < 0 ? axis + rankOf(x) : axis })[0]!;

// ---- One element per index ------------------------------------------------------------------------------------------

/** ONNX GatherElements. */
export const GatherElements = defineOp<AxisAttrs, typeof looksUp>({
  key: 'GatherElements',
  operands: looksUp,
  flops: noFlops,
  since: 13,
  attributes: { axis: 'int' },
  infer([x, indices], { axis }) {
    acceptElementIndices(x, indices, axis);
    return [{ dtype: x!.dtype, dims: indices!.dims }];
  },
  evaluate([x, indices], { axis }) {
    const data = Float64Array.from(elementOffsets(x!.dims, indices!, axis), (at) => x!.data[at]!);
    return [{ dtype: x!.dtype, dims: indices!.dims, data }];
  },
  vjp: ({ operands: [x, indices], attrs: { axis } }, [g], ops) =>
    g && x ? [summed(g, (wide) => ops.scatterElements(ops.fill(x, x.dims, 0, wide.dtype), indices, wide, axis, 'add'), ops)] : [],
});
/**
 * One element per index: y[i, j] = x[indices[i, j], j] for axis 0. A negative index counts from the end.
 *
 * Shapes   x [n, b], indices [m, b] → [m, b]
 * Dtypes   x any; indices int64, int32
 * Throws   ShapeError when the ranks differ or the indices are larger than x on another axis
 * Lowers   everywhere: GatherElements
 */
export const gatherElements = (x: Operand, indices: Operand, axis: number): Value =>
  apply(GatherElements, [x, indices], { axis: axis < 0 ? axis + rankOf(x) : axis })[0]!;

// ---- Rows named by several indices ----------------------------------------------------------------------------------

type GatherNDAttrs = { readonly batch_dims: number };

/** ONNX GatherND. */
export const GatherND = defineOp<GatherNDAttrs, typeof looksUp>({
  key: 'GatherND',
  operands: looksUp,
  flops: noFlops,
  since: 13,
  attributes: { batch_dims: 'int' },
  infer([x, indices], { batch_dims: b }) {
    const { dtype, dims } = accept(x, 'any');
    const index = acceptIndices(indices).dims;
    const depth = depthOf(indices!, dims.length - b);
    if (index.length <= b) throw mismatch('the indices have too few axes', `more than ${b}`, String(index.length));
    const other = index.slice(0, b).findIndex((d, i) => d !== dims[i]);
    if (other >= 0) throw mismatch(`the batches differ on axis ${other}`, String(dims[other]), String(index[other]));
    return [{ dtype, dims: [...index.slice(0, -1), ...dims.slice(b + depth)] }];
  },
  evaluate([x, indices], { batch_dims: b }) {
    const depth = indices!.dims.at(-1)!;
    const inner = x!.dims.slice(b);
    const row = countOf(inner.slice(depth));
    const batches = countOf(x!.dims.slice(0, b));
    const perBatch = indices!.data.length / Math.max(1, batches);
    const data = new Float64Array(countOf(indices!.dims.slice(0, -1)) * row);
    for (let batch = 0, at = 0; batch < batches; batch++) {
      const part = {
        ...indices!,
        dims: indices!.dims.slice(b),
        data: indices!.data.subarray(batch * perBatch, (batch + 1) * perBatch),
      };
      for (const offset of rowOffsets(inner, part)) {
        const start = batch * countOf(inner) + offset;
        data.set(x!.data.subarray(start, start + row), at);
        at += row;
      }
    }
    return [{ dtype: x!.dtype, dims: [...indices!.dims.slice(0, -1), ...inner.slice(depth)], data }];
  },
  vjp({ operands: [x, indices], attrs: { batch_dims: b } }, [g], ops) {
    if (!g || !x || !indices) return [];
    return [
      summed(g, (wide) => ops.scatterND(ops.fill(x, x.dims, 0, wide.dtype), withBatches(indices, b, ops), wide, 'add'), ops),
    ];
  },
});

/** Indices within each batch entry, with the batch indices added before them. */
function withBatches(indices: Value, batchDims: number, { concat, expand, iota, reshape }: Vocabulary): Value {
  const dims: readonly Dim[] = [...indices.dims.slice(0, -1), 1];
  const batches = countUp(0, batchDims).map((axis) => {
    const alone = dims.map((_, i) => (i === axis ? indices.dims[axis]! : 1));
    return expand(reshape(iota(indices, indices.dims[axis]!, indices.dtype), alone), dims);
  });
  return batches.length ? concat([...batches, indices], -1) : indices;
}

/**
 * The slices of x at the indices along the last axis; the first `batchDims` axes of both are batch axes.
 *
 * Shapes   x [b, n, m, d], indices [b, i, 2], batchDims 1 → [b, i, d]
 * Dtypes   x any; indices int64
 * Throws   ShapeError when the batches differ or the last axis of the indices is too long
 * Lowers   everywhere: GatherND
 */
export const gatherND = (x: Operand, indices: Operand, batchDims = 0): Value =>
  apply(GatherND, [x, indices], { batch_dims: batchDims })[0]!;
