// Slice, and functions composed of it: parts of an axis, and a reversed axis.
import { addDims, ceilDivDims, type Dim, dim, mulDims, subDims } from '../dim/dim';
import { aList, anObject, given } from '../given';
import { defineOp, noFlops, type Op, type TensorType } from '../ir/define-op';
import { apply, type GraphBuilder, madeBy, mismatch, type Value, type Vocabulary } from '../ir/graph';
import type { NDArray } from '../tensor/tensor';
import { accept } from './accept';
import { axisOf, rowMajorStrides } from './strides';
import { readView } from './views';

/** On each axis `count` elements, `step` apart, from `start`. A step of -1 reverses a whole axis. */
type SliceAttrs = {
  readonly axes: readonly number[];
  readonly starts: readonly Dim[];
  readonly counts: readonly Dim[];
  readonly steps: readonly number[];
};

function inferSlice(
  [x]: readonly (TensorType | undefined)[],
  { axes, starts, counts, steps }: SliceAttrs,
): readonly TensorType[] {
  const { dtype, dims } = accept(x, 'any');
  const sliced = [...dims];
  axes.forEach((axis, i) => {
    const [start, count, step, whole] = [starts[i]!, counts[i]!, steps[i]!, dims[axis]!];
    const last = addDims(start, mulDims(subDims(count, 1), step));
    const isNegative = (d: Dim) => typeof d === 'number' && d < 0;
    const outside = (d: Dim) => isNegative(d) || isNegative(subDims(subDims(whole, 1), d));
    if (isNegative(count) || (count !== 0 && (outside(start) || outside(last))))
      throw mismatch(`the slice reaches outside of axis ${axis}`, `positions 0 to before ${whole}`, `${start} to ${last}`);
    sliced[axis] = count;
  });
  return [{ dtype, dims: sliced }];
}

/** The high-level op: evenly spaced elements of some axes. */
export const Slice: Op<SliceAttrs> = defineOp<SliceAttrs>({
  key: 'onnxformers.Slice',
  flops: noFlops,
  attributes: { axes: 'data', starts: 'data', counts: 'data', steps: 'data' },
  infer: inferSlice,
  simplify([x], attrs) {
    const needed = attrs.axes.flatMap((axis, i) => (attrs.counts[i] === x!.dims[axis] && attrs.steps[i] === 1 ? [] : [i]));
    if (needed.length === 0) return x;
    if (needed.length < attrs.axes.length) return apply(Slice, [x], only(attrs, needed))[0]!;
    const before = madeBy(x, Slice);
    const forwards = before && [...attrs.steps, ...before.attrs.steps].every((s) => s > 0);
    return forwards ? apply(Slice, [before.operands[0]!], sliceOfSlice(before.attrs, attrs))[0]! : undefined;
  },
  decompose([x], attrs, ops) {
    const int64 = (values: readonly number[]) => x!.graph.number(values, 'int64');
    const whole = attrs.axes.map((axis) => x!.dims[axis]!);
    const starts = bounds(x!.graph, attrs.starts, whole, x!, ops);
    const ends = bounds(
      x!.graph,
      attrs.starts.map((_, i) => endOf(attrs, i, whole[i]!)),
      whole,
      x!,
      ops,
    );
    return apply(ops.OnnxSlice, [x, starts, ends, int64(attrs.axes), int64(attrs.steps)], attrs);
  },
  vjp: ({ operands: [x], attrs }, [grad], ops) => [grad && sliceGradient(x!.dims, grad, attrs, ops)],
  evaluate([x], { axes, steps, ...symbolic }, bound) {
    const [starts, counts] = [symbolic.starts, symbolic.counts].map((ds) => ds.map((d) => bound.of(d))) as [number[], number[]];
    inferSlice([x], { axes, starts, counts, steps });
    return [sliced(x!, axes, starts, counts, steps)];
  },
});

const only = ({ axes, starts, counts, steps }: SliceAttrs, which: readonly number[]): SliceAttrs => ({
  axes: which.map((i) => axes[i]!),
  starts: which.map((i) => starts[i]!),
  counts: which.map((i) => counts[i]!),
  steps: which.map((i) => steps[i]!),
});

function sliceOfSlice(inner: SliceAttrs, outer: SliceAttrs): SliceAttrs {
  const axes = [...new Set([...inner.axes, ...outer.axes])].sort((a, b) => a - b);
  const merged = axes.map((axis) => {
    const [i, o] = [inner.axes.indexOf(axis), outer.axes.indexOf(axis)];
    if (o < 0) return { start: inner.starts[i]!, count: inner.counts[i]!, step: inner.steps[i]! };
    const [start, count, step] = [outer.starts[o]!, outer.counts[o]!, outer.steps[o]!];
    if (i < 0) return { start, count, step };
    return { start: addDims(inner.starts[i]!, mulDims(start, inner.steps[i]!)), count, step: step * inner.steps[i]! };
  });
  return { axes, starts: merged.map((m) => m.start), counts: merged.map((m) => m.count), steps: merged.map((m) => m.step) };
}

// A number beyond any size: ONNX clamps ends to the axis. Within int32, since some runtimes read bounds as int32.
const beyond = 2 ** 31 - 1;

function endOf({ starts, counts, steps }: SliceAttrs, i: number, whole: Dim): Dim {
  const [start, count, step] = [starts[i]!, counts[i]!, steps[i]!];
  if (step < 0) return -beyond;
  if (count === ceilDivDims(subDims(whole, start), step)) return beyond;
  return count === 0 ? start : addDims(start, mulDims(subDims(count, 1), step), 1);
}

// A bound at a known distance from the end needs no size: ONNX counts negative bounds from the end.
function bounds(g: GraphBuilder, ends: readonly Dim[], whole: readonly Dim[], x: Value, { sizes }: Vocabulary): Value {
  const literal = ends.map((end, i) => {
    const back = typeof end === 'number' ? undefined : subDims(end, whole[i]!);
    return typeof back !== 'number' ? end : back === 0 ? beyond : back;
  });
  return sizes(g, literal, [x]);
}

function sliced(
  x: NDArray,
  axes: readonly number[],
  starts: readonly number[],
  counts: readonly number[],
  steps: readonly number[],
): NDArray {
  const [dims, strides] = [[...x.dims], rowMajorStrides(x.dims)];
  let first = 0;
  axes.forEach((axis, i) => {
    first += starts[i]! * strides[axis]!;
    strides[axis]! *= steps[i]!;
    dims[axis] = counts[i]!;
  });
  return { dtype: x.dtype, dims, data: readView(x.data, dims, strides, first) };
}

function sliceGradient(whole: readonly Dim[], grad: Value, { axes, starts, counts, steps }: SliceAttrs, ops: Vocabulary): Value {
  let spread = grad;
  const after = axes.map((axis, i) => {
    if (steps[i]! < 0) spread = flip(spread, axis);
    else if (steps[i]! > 1) spread = dilate(spread, axis, steps[i]!, ops);
    return subDims(whole[axis]!, steps[i]! < 0 ? counts[i]! : addDims(starts[i]!, spread.dims[axis]!));
  });
  const before = axes.map((_, i) => (steps[i]! < 0 ? 0 : starts[i]!));
  return ops.pad(spread, { axes, before, after });
}

/** x with `step - 1` zeros between neighbours on an axis: n elements become `(n - 1) * step + 1`. */
function dilate(x: Value, axis: number, step: number, { pad, reshape }: Vocabulary): Value {
  const n = x.dims[axis]!;
  const cells = pad(reshape(x, x.dims.toSpliced(axis + 1, 0, 1)), { axes: [axis + 1], before: [0], after: [step - 1] });
  const joined = reshape(cells, x.dims.with(axis, mulDims(n, step)));
  return slice(joined, { axes: [axis], starts: [0], ends: [addDims(mulDims(subDims(n, 1), step), 1)] });
}

const onnxSliceOperands = ['x', 'starts', 'ends', 'axes?', 'steps?'] as const;
/** ONNX Slice. Operands: x, then starts, ends, axes and steps as int64. */
export const OnnxSlice = defineOp<SliceAttrs, typeof onnxSliceOperands>({
  key: 'Slice',
  operands: onnxSliceOperands,
  flops: noFlops,
  since: 13,
  attributes: { axes: 'data', starts: 'data', counts: 'data', steps: 'data' },
  infer: inferSlice,
  vjp: ({ operands: [x], attrs }, [grad], ops) => [grad && sliceGradient(x!.dims, grad, attrs, ops)],
  evaluate([x, ...others]) {
    const [starts, ends, axes, steps] = others.map((o) => Array.from(o!.data)) as [number[], number[], number[], number[]];
    const ranges = axes.map((axis, i) => clamped(starts[i]!, ends[i]!, steps[i]!, x!.dims[axis]!));
    return [
      sliced(
        x!,
        axes,
        ranges.map((r) => r.start),
        ranges.map((r) => r.count),
        steps,
      ),
    ];
  },
});

function clamped(start: number, end: number, step: number, whole: number): { readonly start: number; readonly count: number } {
  const [low, high] = step > 0 ? [0, whole] : [-1, whole - 1];
  const within = (p: number, least: number) => Math.min(Math.max(p < 0 ? p + whole : p, least), high);
  const from = within(start, 0);
  return { start: from, count: Math.max(0, Math.ceil((within(end, low) - from) / step)) };
}

/**
 * Parts of x: on each of these axes every `step`th element from `start` to before `end`. Negative numbers count from the end of the axis;
 * without `ends` the parts extend to the end, without `steps` the step is 1. Symbolic bounds are assumed to be within the axis.
 *
 * Shapes   x [batch, seq, 7], axes [1, 2], starts [1, 0], ends ['seq', -2] → [batch, seq - 1, 5]
 * Throws   ShapeError when a known bound is outside the axis, or a start is after its end
 * Lowers   everywhere: Slice
 * Example  const last = ops.slice(x, { axes: [1], starts: [-1] });
 */
export function slice(
  x: Value,
  o: {
    readonly axes: readonly number[];
    readonly starts: readonly Dim[];
    readonly ends?: readonly Dim[];
    readonly steps?: readonly number[];
  },
): Value {
  given(
    'slice',
    { x, options: o, 'options.axes': o?.axes, 'options.starts': o?.starts },
    { options: anObject, 'options.axes': aList, 'options.starts': aList },
  );
  const attrs = x.graph.located(Slice.key, [x], () => normalized(x, o.axes, o.starts, o.ends, o.steps));
  return apply(Slice, [x], attrs)[0]!;
}

function normalized(
  x: Value,
  asked: readonly number[],
  starts: readonly Dim[],
  ends: readonly Dim[] | undefined,
  steps: readonly number[] | undefined,
): SliceAttrs {
  for (const list of [starts, ends ?? asked, steps ?? asked])
    if (list.length !== asked.length)
      throw mismatch('every axis requires a start, an end and a step', String(asked.length), String(list.length));
  const parts = asked.map((a, i) => {
    const axis = axisOf(a, x.rank);
    const whole = x.dims[axis]!;
    const step = steps?.[i] ?? 1;
    if (!Number.isInteger(step) || step < 1) throw mismatch('a step is not a positive integer', 'at least 1', String(step));
    const [start, end] = [position(starts[i]!, whole), ends ? position(ends[i]!, whole) : whole];
    const length = subDims(end, start);
    const outside = [start, end, length, subDims(whole, end)].some((d) => typeof d === 'number' && d < 0);
    if (outside)
      throw mismatch(`the slice reaches outside of axis ${axis}`, `0 <= start <= end <= ${whole}`, `${start} to ${end}`);
    return { axis, start, count: ceilDivDims(length, step), step };
  });
  parts.sort((a, b) => a.axis - b.axis);
  const twice = parts.find((p, i) => parts[i + 1]?.axis === p.axis);
  if (twice) throw mismatch(`axis ${twice.axis} is sliced twice`, 'different axes');
  return {
    axes: parts.map((p) => p.axis),
    starts: parts.map((p) => p.start),
    counts: parts.map((p) => p.count),
    steps: parts.map((p) => p.step),
  };
}

const position = (at: Dim, whole: Dim): Dim => (typeof at === 'number' && at < 0 ? addDims(whole, at) : dim(at));

/**
 * x with an axis reversed.
 *
 * Shapes   x any → the same
 * Throws   ShapeError when there is no such axis
 * Lowers   everywhere: Slice
 */
export function flip(x: Value, axis: number): Value {
  given('flip', { x });
  const along = x.graph.located(Slice.key, [x], () => axisOf(axis, x.rank));
  const whole = x.dims[along]!;
  return apply(Slice, [x], { axes: [along], starts: [subDims(whole, 1)], counts: [whole], steps: [-1] })[0]!;
}

/**
 * The first `size` elements of an axis.
 *
 * Shapes   x [batch, 24], axis 1, size 5 → [batch, 5]
 * Throws   ShapeError when a known size is larger than the axis
 * Lowers   everywhere: Slice
 */
export const cropTo = (x: Value, axis: number, size: Dim): Value => {
  given('cropTo', { x });
  return slice(x, { axes: [axis], starts: [0], ends: [size] });
};
