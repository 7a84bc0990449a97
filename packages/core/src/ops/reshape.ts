// Reshape and its special cases.
import { type Dim, dim, mulDims, namesOfDim, tryDivDims } from '../dim/dim';
import { aList, given } from '../given';
import { defineOp, noFlops, type Op, sameDims, type TensorType } from '../ir/define-op';
import { apply, isFilled, madeBy, mismatch, type Value, type Vocabulary } from '../ir/graph';
import { countOf, type NDArray } from '../tensor/tensor';
import { accept } from './accept';
import { encoded, int64s } from './encode';
import { axesOf, axisOf } from './strides';

type ReshapeAttrs = { readonly dims: readonly Dim[] };

function inferReshape([x]: readonly (TensorType | undefined)[], { dims }: ReshapeAttrs): readonly TensorType[] {
  const { dtype, dims: before } = accept(x, 'any');
  const count = mulDims(...before);
  const show = (ds: readonly Dim[]) => `[${ds.join(', ')}]`;
  if (dims.includes(-1))
    throw mismatch(
      `the size -1 in ${show(dims)} cannot be inferred from ${count} elements`,
      'one -1, and sizes that divide exactly',
    );
  if (mulDims(...dims) !== count)
    throw mismatch('a reshape must keep the number of elements', `${count}`, `${show(dims)} of ${mulDims(...dims)}`);
  return [{ dtype, dims }];
}

// The operand of the reshape that made x: our Reshape, or ONNX's after lowering.
function sameElements(x: Value, { OnnxReshape, Squeeze, Unsqueeze }: Vocabulary): Value | undefined {
  const onnx = madeBy(x, OnnxReshape);
  const before = (onnx?.attrs.claimed ? undefined : onnx) ?? madeBy(x, Reshape) ?? madeBy(x, Squeeze) ?? madeBy(x, Unsqueeze);
  return before?.operands[0];
}

/** The high-level op: any dims with the same number of elements. Lowered to ONNX's Reshape, whose sizes are an operand. */
export const Reshape: Op<ReshapeAttrs> = defineOp<ReshapeAttrs>({
  key: 'onnxformers.Reshape',
  flops: noFlops,
  view: true,
  attributes: { dims: 'data' },
  infer: inferReshape,
  simplify([x], { dims }, ops) {
    if (sameDims(x!.dims, dims)) return x;
    const before = sameElements(x!, ops);
    return before && reshape(before, dims);
  },
  decompose: ([x], { dims }, ops) => [shaped(x!, dims, ops)],
  vjp: ({ operands: [x] }, [grad]) => [grad && reshape(grad, x!.dims)],
  evaluate: ([x], { dims }, bound) => [{ ...x!, dims: dims.map((d) => bound.of(d)) }],
});

/**
 * The same elements in row-major order, with other dims.
 *
 * Shapes   x: any → dims; one of them may be -1, which is inferred
 * Throws   ShapeError when the number of elements differs, or -1 cannot be inferred exactly
 * Lowers   everywhere: Reshape
 * Example  const y = ops.reshape(x, ['batch', -1, 7]);
 */
export function reshape(x: Value, dims: readonly Dim[]): Value {
  given('reshape', { x, dims }, { dims: aList });
  const canonical = dims.map(dim);
  const open = canonical.indexOf(-1);
  const others = canonical.filter((_, i) => i !== open);
  const size = open < 0 ? undefined : tryDivDims(mulDims(...x.dims), mulDims(...others));
  return apply(Reshape, [x], { dims: size === undefined ? canonical : canonical.with(open, size) })[0]!;
}

// ---- The ops of ONNX ------------------------------------------------------------------------------------------------

type OnnxReshapeAttrs = ReshapeAttrs & { readonly allowzero?: number; readonly claimed?: boolean };

/**
 * ONNX Reshape. Operands: x, and the sizes as int64, where 0 copies the size of the same axis (unless `allowzero`) and one may be -1.
 * `claimed` sizes are checked at run time; see `refine`.
 */
export const OnnxReshape = defineOp<OnnxReshapeAttrs>({
  key: 'Reshape',
  flops: noFlops,
  view: true,
  since: 14,
  attributes: { dims: 'data', allowzero: 'int', claimed: 'data' },
  infer: ([x], { dims, claimed }) => (claimed ? [{ dtype: accept(x, 'any').dtype, dims }] : inferReshape([x], { dims })),
  vjp: ({ operands: [x], attrs: { claimed } }, [grad], { refine }) => [
    grad && (claimed ? refine : reshape)(grad, x!.dims),
    undefined,
  ],
  evaluate([x, shape], { allowzero }) {
    const dims = Array.from(shape!.data, (n, i) => (n === 0 && !allowzero ? (x!.dims[i] ?? 0) : n));
    const open = dims.indexOf(-1);
    if (open >= 0) dims[open] = countOf(x!.dims) / countOf(dims.toSpliced(open, 1));
    const fits = countOf(dims) === x!.data.length && dims.every((n) => Number.isInteger(n) && n >= 0);
    if (!fits) throw mismatch('the sizes do not fit the elements', `${x!.data.length} elements`, `[${Array.from(shape!.data)}]`);
    return [{ ...x!, dims }];
  },
});

type AxesAttrs = { readonly axes: readonly number[] };
const withDims = (x: NDArray | undefined, dims: readonly number[]): readonly NDArray[] => [{ ...x!, dims }];

/** ONNX Squeeze: removes axes of size 1. */
export const Squeeze = defineOp<AxesAttrs>({
  key: 'Squeeze',
  flops: noFlops,
  view: true,
  since: 13,
  attributes: { axes: 'ints' },
  infer([x], { axes }) {
    const { dtype, dims } = accept(x, 'any');
    const wide = axes.find((a) => dims[a] !== 1);
    if (wide !== undefined) throw mismatch(`axis ${wide} cannot be squeezed`, 'size 1', String(dims[wide]));
    return [{ dtype, dims: dims.filter((_, i) => !axes.includes(i)) }];
  },
  vjp: ({ operands: [x] }, [grad]) => [grad && reshape(grad, x!.dims)],
  evaluate: ([x], { axes }) =>
    withDims(
      x,
      x!.dims.filter((_, i) => !axes.includes(i)),
    ),
  encode: (node) => encoded(node, [node.operands[0], int64s(node.attrs.axes)], ['axes']),
});

/** ONNX Unsqueeze: inserts axes of size 1; `axes` are counted in the result. */
export const Unsqueeze = defineOp<AxesAttrs>({
  key: 'Unsqueeze',
  flops: noFlops,
  view: true,
  since: 13,
  attributes: { axes: 'ints' },
  infer([x], { axes }) {
    const { dtype, dims } = accept(x, 'any');
    return [{ dtype, dims: withOnes(dims, axes) }];
  },
  vjp: ({ operands: [x] }, [grad]) => [grad && reshape(grad, x!.dims)],
  evaluate: ([x], { axes }) => withDims(x, withOnes(x!.dims, axes)),
  encode: (node) => encoded(node, [node.operands[0], int64s(node.attrs.axes)], ['axes']),
});

function withOnes<D extends Dim>(dims: readonly D[], axes: readonly number[]): (D | 1)[] {
  const rest = [...dims];
  return Array.from({ length: dims.length + axes.length }, (_, i) => (axes.includes(i) ? 1 : rest.shift()!));
}

// ---- Lowering -------------------------------------------------------------------------------------------------------

// A constant shape, in which 0 copies a size and one -1 is inferred, avoids arithmetic on sizes. Copying by 0 and moving
// axes of size 1 are also correct for empty arrays. -1 cannot be inferred if another size is 0; where that is possible, sizes are computed.
function shaped(x: Value, dims: readonly Dim[], ops: Vocabulary): Value {
  const { OnnxReshape, sizes } = ops;
  const onnxReshape = (shape: Value, allowzero?: 1): Value =>
    apply(OnnxReshape, [x, shape], allowzero ? { dims, allowzero } : { dims })[0]!;
  const invented = dims.some((d, i) => d === 0 && x.dims[i] !== 0);
  if (invented) return onnxReshape(sizes(x.graph, dims, [x]), 1);
  const entries = dims.map((d, i) => (typeof d === 'string' && d === x.dims[i] ? 0 : d));
  const open = entries.flatMap((d, i) => (typeof d === 'string' ? [i] : []));
  if (open.length && differInOnes(x.dims, dims)) return moveOnes(x, dims, ops);
  const product = open.find((i) => namesOfDim(dims[i]!)[0] !== dims[i]) ?? open[0];
  if (product === undefined) return onnxReshape(sizes(x.graph, entries, [x]));
  const inferred = dims.every((d, i) => i === product || isFilled(d, x.graph.filled));
  return inferred ? onnxReshape(sizes(x.graph, entries.with(product, -1), [x])) : onnxReshape(computedSizes(x, dims, ops), 1);
}

// Sizes that are multiples or fractions of those of x are read from x, which has them wherever the reshape is. The maximum with 0 changes nothing, but ONNX
// Runtime would replace a computed size in a Concat by -1.
function computedSizes(x: Value, dims: readonly Dim[], { concat, div, max, mul, shapeOf, sizes }: Vocabulary): Value {
  const sizeAt = (axis: number): Value => shapeOf(x, axis, axis + 1);
  const pieces = dims.map((d): Value => {
    for (const [axis, own] of typeof d === 'string' ? x.dims.entries() : []) {
      if (typeof own === 'number') continue;
      const [times, part] = [tryDivDims(d, own), tryDivDims(own, d)];
      if (typeof times === 'number') return times === 1 ? sizeAt(axis) : mul(sizeAt(axis), times);
      if (typeof part === 'number') return div(sizeAt(axis), part);
    }
    return sizes(x.graph, [d], [x]);
  });
  return max(concat(pieces, 0), 0);
}

const onesOf = (dims: readonly Dim[]): number[] => dims.flatMap((d, i) => (d === 1 ? [i] : []));
const differInOnes = (a: readonly Dim[], b: readonly Dim[]): boolean =>
  sameDims(
    a.filter((d) => d !== 1),
    b.filter((d) => d !== 1),
  );

function moveOnes(x: Value, dims: readonly Dim[], { Squeeze, Unsqueeze }: Vocabulary): Value {
  const [gone, added] = [onesOf(x.dims), onesOf(dims)];
  const bare = gone.length ? apply(Squeeze, [x], { axes: gone })[0]! : x;
  return added.length ? apply(Unsqueeze, [bare], { axes: added })[0]! : bare;
}

// ---- Special cases --------------------------------------------------------------------------------------------------

/**
 * x without some axes of size 1.
 *
 * Shapes   x [batch, 1, 5], axes [1] → [batch, 5]
 * Throws   ShapeError when an axis does not exist or is not of size 1
 * Lowers   everywhere: Reshape
 */
export function squeeze(x: Value, axes: readonly number[]): Value {
  given('squeeze', { x, axes }, { axes: aList });
  const gone = x.graph.located(Squeeze.key, [x], () => {
    const found = axesOf(axes, x.rank);
    Squeeze.infer([x], { axes: found });
    return found;
  });
  return reshape(
    x,
    x.dims.filter((_, i) => !gone.includes(i)),
  );
}

/**
 * x with additional axes of size 1, at these indices of the result.
 *
 * Shapes   x [batch, 5], axes [1] → [batch, 1, 5]
 * Throws   ShapeError when an axis does not exist or is named twice
 * Lowers   everywhere: Reshape
 * Example  const column = ops.unsqueeze(x, [-1]);
 */
export function unsqueeze(x: Value, axes: readonly number[]): Value {
  given('unsqueeze', { x, axes }, { axes: aList });
  const added = x.graph.located(Unsqueeze.key, [x], () => axesOf(axes, x.rank + axes.length));
  return reshape(x, withOnes(x.dims, added));
}

/**
 * x with the axes from `first` to `last`, both inclusive, joined into one.
 *
 * Shapes   [batch, heads, seq, dim], first 0, last 1 → [batch*heads, seq, dim]
 * Throws   ShapeError when an axis does not exist, or the first is after the last
 * Lowers   everywhere: Reshape
 */
export function flattenAxes(x: Value, first: number, last: number): Value {
  given('flattenAxes', { x });
  const [from, to] = x.graph.located(Reshape.key, [x], () => {
    const ends = [axisOf(first, x.rank), axisOf(last, x.rank)] as const;
    if (ends[0] > ends[1]) throw mismatch('the first axis is after the last', `at most ${ends[1]}`, String(ends[0]));
    return ends;
  });
  return reshape(x, [...x.dims.slice(0, from), mulDims(...x.dims.slice(from, to + 1)), ...x.dims.slice(to + 1)]);
}
