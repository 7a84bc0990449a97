// Writes elements and slices at indices into a copy of an array.

import { defineOp, type TensorType } from '../ir/define-op';
import { apply, mismatch, type Operand, type Value, type Vocabulary } from '../ir/graph';
import { countOf } from '../tensor/tensor';
import { accept, acceptAlike, fitting, rankOf } from './accept';
import { acceptElementIndices, depthOf, elementOffsets, rowOffsets } from './indices';

/** Whether the old element is replaced, or how it is combined with the new one. */
export type ScatterReduction = 'none' | 'add' | 'mul' | 'max' | 'min';

const combine: Readonly<Record<ScatterReduction, (old: number, update: number) => number>> = {
  none: (_, update) => update,
  add: (old, update) => old + update,
  mul: (old, update) => old * update,
  max: Math.max,
  min: Math.min,
};

/** Gather and scatter at the indices of one node, for its gradient. */
interface Places {
  readonly gather: (x: Value) => Value;
  readonly scatter: (x: Value, updates: Value, reduction: ScatterReduction) => Value;
}

// The gradients of x and of the updates. Equal elements share that of an extreme; factors of a product must not be 0.
function gradients(
  x: Value,
  updates: Value,
  y: Value,
  g: Value,
  reduction: ScatterReduction,
  { gather, scatter }: Places,
  { cast, div, equal, fill, mul }: Vocabulary,
): readonly Value[] {
  if (reduction === 'none') return [scatter(g, fill(updates, updates.dims, 0, g.dtype), 'none'), gather(g)];
  if (reduction === 'add') return [g, gather(g)];
  if (reduction === 'mul') {
    const others = scatter(fill(x, x.dims, 1, g.dtype), updates, 'mul');
    return [mul(g, others), div(gather(mul(g, y)), updates)];
  }
  const [kept, taken] = [cast(equal(x, y), g.dtype), cast(equal(updates, gather(y)), g.dtype)];
  const share = div(g, scatter(kept, taken, 'add'));
  return [mul(share, kept), mul(gather(share), taken)];
}

function acceptUpdates(x: TensorType | undefined, updates: TensorType | undefined, reduction: ScatterReduction): void {
  acceptAlike([x, updates], reduction === 'none' ? 'any' : 'number');
}

type ScatterNDAttrs = { readonly reduction: ScatterReduction };

const scatterNDOperands = ['x', 'indices', 'updates'] as const;
/** ONNX ScatterND. */
export const ScatterND = defineOp<ScatterNDAttrs, typeof scatterNDOperands>({
  key: 'ScatterND',
  operands: scatterNDOperands,
  since: 18,
  attributes: { reduction: 'string' },
  form: ({ reduction }) => `reduction=${reduction}`,
  infer([x, indices, updates], { reduction }) {
    acceptUpdates(x, updates, reduction);
    const depth = depthOf(accept(indices, 'integer', 'the indices'), x!.dims.length);
    const expected = [...indices!.dims.slice(0, -1), ...x!.dims.slice(depth)];
    const got = updates!.dims;
    if (got.length !== expected.length || expected.some((d, i) => d !== got[i]))
      throw mismatch('the updates do not fit the indices', `[${expected.join(', ')}]`, `[${got.join(', ')}]`);
    return [x!];
  },
  evaluate([x, indices, updates], { reduction }) {
    const data = x!.data.slice();
    const row = countOf(x!.dims.slice(indices!.dims.at(-1)!));
    const [f, fit] = [combine[reduction], fitting(x!.dtype)];
    let from = 0;
    for (const offset of rowOffsets(x!.dims, indices!))
      for (let i = 0; i < row; i++) data[offset + i] = fit(f(data[offset + i]!, updates!.data[from++]!));
    return [{ ...x!, data }];
  },
  vjp({ operands: [x, indices, updates], outputs: [y], attrs: { reduction } }, [g], ops) {
    if (!g || !x || !updates) return [];
    const places: Places = { gather: (v) => ops.gatherND(v, indices), scatter: (v, u, how) => scatterND(v, indices, u, how) };
    const [dx, du] = gradients(x, updates, y!, g, reduction, places, ops);
    return [dx, undefined, du];
  },
});
/**
 * A copy of x in which the slices at the indices along the last axis are replaced by, or combined with, the updates. For repeated
 * indices, it is undefined with `none` which update remains.
 *
 * Shapes   x [n, m, d], indices [i, 2], updates [i, d] → [n, m, d]
 * Dtypes   x, updates any, both the same (numbers unless `none`); indices int64
 * Throws   ShapeError when the updates do not fit x and the indices
 * Lowers   everywhere: ScatterND
 */
export const scatterND = (x: Operand, indices: Operand, updates: Operand, reduction: ScatterReduction = 'none'): Value =>
  apply(ScatterND, [x, indices, updates], { reduction })[0]!;

type ScatterElementsAttrs = { readonly axis: number; readonly reduction: ScatterReduction };

const scatterElementsOperands = ['x', 'indices', 'updates'] as const;
/** ONNX ScatterElements. */
export const ScatterElements = defineOp<ScatterElementsAttrs, typeof scatterElementsOperands>({
  key: 'ScatterElements',
  operands: scatterElementsOperands,
  since: 18,
  attributes: { axis: 'int', reduction: 'string' },
  form: ({ reduction }) => `reduction=${reduction}`,
  infer([x, indices, updates], { axis, reduction }) {
    acceptUpdates(x, updates, reduction);
    acceptElementIndices(x, indices, axis);
    if (indices!.dims.some((d, i) => d !== updates!.dims[i]) || indices!.dims.length !== updates!.dims.length)
      throw mismatch('the updates do not fit the indices', `[${indices!.dims.join(', ')}]`, `[${updates!.dims.join(', ')}]`);
    return [x!];
  },
  evaluate([x, indices, updates], { axis, reduction }) {
    const data = x!.data.slice();
    const [f, fit] = [combine[reduction], fitting(x!.dtype)];
    elementOffsets(x!.dims, indices!, axis).forEach((at, i) => {
      data[at] = fit(f(data[at]!, updates!.data[i]!));
    });
    return [{ ...x!, data }];
  },
  vjp({ operands: [x, indices, updates], outputs: [y], attrs: { axis, reduction } }, [g], ops) {
    if (!g || !x || !updates) return [];
    const places: Places = {
      gather: (v) => ops.gatherElements(v, indices, axis),
      scatter: (v, u, how) => scatterElements(v, indices, u, axis, how),
    };
    const [dx, du] = gradients(x, updates, y!, g, reduction, places, ops);
    return [dx, undefined, du];
  },
});
/**
 * A copy of x with one element per index replaced or combined: y[indices[i, j], j] = updates[i, j] for axis 0. For repeated indices,
 * it is undefined with `none` which update remains.
 *
 * Shapes   x [n, b], indices, updates [m, b] → [n, b]
 * Dtypes   x, updates any, both the same (numbers unless `none`); indices int64, int32
 * Throws   ShapeError when indices and updates differ in dims or do not fit x
 * Lowers   everywhere: ScatterElements
 */
export const scatterElements = (
  x: Operand,
  indices: Operand,
  updates: Operand,
  axis: number,
  reduction: ScatterReduction = 'none',
): Value => apply(ScatterElements, [x, indices, updates], { axis: axis < 0 ? axis + rankOf(x) : axis, reduction })[0]!;
