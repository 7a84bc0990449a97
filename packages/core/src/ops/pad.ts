// Pad: one number before and after the elements of an axis.
import { addDims, type Dim, dim, subDims } from '../dim/dim';
import { aList, anObject, given } from '../given';
import { defineOp, noFlops, type TensorType } from '../ir/define-op';
import { apply, mismatch, type Value } from '../ir/graph';
import { countOf, type NDArray } from '../tensor/tensor';
import { accept } from './accept';
import { axisOf, rowMajorStrides } from './strides';
import { readView, writeView } from './views';

/** On each axis the number of elements before and after, all `value`. A negative number removes elements. */
type PadAttrs = {
  readonly axes: readonly number[];
  readonly before: readonly Dim[];
  readonly after: readonly Dim[];
  readonly value: number;
};

function inferPad([x]: readonly (TensorType | undefined)[], { axes, before, after }: PadAttrs): readonly TensorType[] {
  const { dtype, dims } = accept(x, 'any');
  const padded = [...dims];
  axes.forEach((axis, i) => {
    padded[axis] = addDims(before[i]!, dims[axis]!, after[i]!);
    const size = padded[axis];
    if (typeof size === 'number' && size < 0)
      throw mismatch(`more than the whole of axis ${axis} is removed`, `at most ${dims[axis]}`);
  });
  return [{ dtype, dims: padded }];
}

function padded(
  x: NDArray,
  axes: readonly number[],
  before: readonly number[],
  after: readonly number[],
  value: number,
): NDArray {
  const [dims, kept] = [[...x.dims], [...x.dims]];
  const [from, to] = [x.dims.map(() => 0), x.dims.map(() => 0)];
  axes.forEach((axis, i) => {
    dims[axis] = before[i]! + x.dims[axis]! + after[i]!;
    from[axis] = Math.max(0, -before[i]!);
    to[axis] = Math.max(0, before[i]!);
    kept[axis] = Math.max(0, Math.min(x.dims[axis]!, x.dims[axis]! + after[i]!) - from[axis]!);
  });
  const data = new Float64Array(countOf(dims)).fill(value);
  const place = (at: readonly number[], strides: readonly number[]) => at.reduce((n, p, axis) => n + p * strides[axis]!, 0);
  const [source, target] = [rowMajorStrides(x.dims), rowMajorStrides(dims)];
  writeView(data, readView(x.data, kept, source, place(from, source)), kept, target, place(to, target));
  return { dtype: x.dtype, dims, data };
}

const negated = (ds: readonly Dim[]): Dim[] => ds.map((d) => subDims(0, d));
const padGradient = (grad: Value, { axes, before, after }: PadAttrs): Value =>
  apply(Pad, [grad], { axes, before: negated(before), after: negated(after), value: 0 })[0]!;

/** The high-level op: a constant border. */
export const Pad = defineOp<PadAttrs>({
  key: 'onnxformers.Pad',
  flops: noFlops,
  attributes: { axes: 'data', before: 'data', after: 'data', value: 'data' },
  infer: inferPad,
  simplify([x], attrs, { slice }) {
    const { axes, before, after } = attrs;
    inferPad([x], attrs);
    const amounts = [...before, ...after];
    if (amounts.every((d) => d === 0)) return x;
    if (!amounts.every((d) => typeof d === 'number' && d <= 0)) return undefined;
    return slice(x!, {
      axes,
      starts: before.map((d) => -(d as number)),
      ends: axes.map((axis, i) => addDims(x!.dims[axis]!, after[i]!)),
    });
  },
  decompose([x], attrs, { OnnxPad, sizes }) {
    const { axes, before, after, value } = attrs;
    const g = x!.graph;
    const onAll = (amounts: readonly Dim[]): Dim[] => x!.dims.map((_, axis) => amounts[axes.indexOf(axis)] ?? 0);
    return apply(OnnxPad, [x, sizes(g, [...onAll(before), ...onAll(after)], [x!]), g.number(value, x!.dtype)], attrs);
  },
  vjp: ({ attrs }, [grad]) => [grad && padGradient(grad, attrs)],
  evaluate: ([x], { axes, before, after, value }, bound) => [
    padded(
      x!,
      axes,
      before.map((d) => bound.of(d)),
      after.map((d) => bound.of(d)),
      value,
    ),
  ],
});

const onnxPadOperands = ['x', 'pads', 'value?'] as const;
/**
 * ONNX Pad. Operands: x, the amounts before all axes and then after them as int64, the value. The standard also allows a list of axes, but
 * ONNX Runtime's optimiser, which moves transposes past it, then treats the amounts as those of all axes.
 */
export const OnnxPad = defineOp<PadAttrs, typeof onnxPadOperands>({
  key: 'Pad',
  operands: onnxPadOperands,
  flops: noFlops,
  since: 13,
  attributes: { axes: 'data', before: 'data', after: 'data', value: 'data' },
  infer: inferPad,
  vjp: ({ attrs }, [grad]) => [grad && padGradient(grad, attrs)],
  evaluate([x, pads, value]) {
    const all = x!.dims.map((_, axis) => axis);
    const amounts = Array.from(pads!.data);
    return [padded(x!, all, amounts.slice(0, all.length), amounts.slice(all.length), value!.data[0]!)];
  },
});

/**
 * x with elements of one value added before and after some axes. Amounts may be symbolic; a negative one
 * removes elements.
 *
 * Shapes   x [batch, seq, 5], axes [1], before [2], after ['past'] → [batch, past + seq + 2, 5]
 * Throws   ShapeError when an axis does not exist or is named twice
 * Lowers   everywhere: Pad, Concat
 */
export function pad(
  x: Value,
  o: { readonly axes: readonly number[]; readonly before: readonly Dim[]; readonly after: readonly Dim[] },
  value = 0,
): Value {
  given(
    'pad',
    { x, options: o, 'options.axes': o?.axes, 'options.before': o?.before, 'options.after': o?.after },
    { options: anObject, 'options.axes': aList, 'options.before': aList, 'options.after': aList },
  );
  const attrs = x.graph.located(Pad.key, [x], () => {
    if (o.before.length !== o.axes.length || o.after.length !== o.axes.length)
      throw mismatch(
        'every axis requires an amount before and an amount after',
        String(o.axes.length),
        `${o.before.length} and ${o.after.length}`,
      );
    const parts = o.axes.map((axis, i) => ({ axis: axisOf(axis, x.rank), before: dim(o.before[i]!), after: dim(o.after[i]!) }));
    const twice = parts.find((p, i) => parts.findIndex((q) => q.axis === p.axis) !== i);
    if (twice) throw mismatch(`axis ${twice.axis} is padded twice`, 'different axes');
    return parts.filter((p) => p.before !== 0 || p.after !== 0).sort((a, b) => a.axis - b.axis);
  });
  const list = <K extends keyof (typeof attrs)[number]>(key: K) => attrs.map((p) => p[key]);
  return apply(Pad, [x], { axes: list('axis'), before: list('before'), after: list('after'), value })[0]!;
}

/**
 * x padded with `value` at the end of an axis up to this size; if the axis is longer at run time, it is truncated.
 *
 * Shapes   x [batch, seq, 5], axis 1, size 16 → [batch, 16, 5]
 * Throws   ShapeError when the axis does not exist
 * Lowers   everywhere: Pad, Concat
 */
export function padTo(x: Value, axis: number, size: Dim, value = 0): Value {
  given('padTo', { x });
  const along = x.graph.located(Pad.key, [x], () => axisOf(axis, x.rank));
  return pad(x, { axes: [along], before: [0], after: [subDims(size, x.dims[along]!)] }, value);
}
