// A part of an axis whose ends are data: the only op whose result has a size that no size of its operands determines.
import type { Dim } from '../dim/dim';
import { anObject, given } from '../given';
import { defineOp, noFlops, printType } from '../ir/define-op';
import { apply, mismatch, type Value } from '../ir/graph';
import type { NDArray } from '../tensor/tensor';
import { accept } from './accept';
import { reshape } from './reshape';
import { OnnxSlice } from './slice';
import { axisOf } from './strides';

type SliceBetweenAttrs = {
  readonly axis: number;
  /** The name of the size of the part. */
  readonly size: string;
  /** A bound on it. */
  readonly most: Dim;
  readonly mayBeEmpty: boolean;
};

const names = ['x', 'starts', 'ends', 'axes', 'steps'] as const;
/** ONNX Slice with one start and one end that are computed: int64 [1] each. */
export const SliceBetween = defineOp<SliceBetweenAttrs, typeof names>({
  key: 'Slice',
  operands: names,
  flops: noFlops,
  since: 13,
  attributes: { axis: 'data', size: 'data', most: 'data', mayBeEmpty: 'data' },
  infer([x, ...bounds], { axis, size }) {
    const { dtype, dims } = accept(x, 'any');
    for (const bound of bounds)
      if (bound?.dtype !== 'int64' || `${bound.dims}` !== '1')
        throw mismatch('a bound is not one integer', 'int64[1]', printType(bound));
    return [{ dtype, dims: dims.with(axis, size) }];
  },
  runSize: ({ size, most, mayBeEmpty }) => ({ name: size, most, mayBeEmpty }),
  vjp: 'nonDifferentiable',
  evaluate: (operands, _, sizes) => OnnxSlice.evaluate!(operands, none, sizes) as readonly NDArray[],
});
const none = { axes: [], starts: [], counts: [], steps: [] };

/** Options of {@link sliceBetween}. */
export interface SliceBetweenOptions {
  readonly axis: number;
  /** int64 [], at least 0. */
  readonly start: Value;
  /** int64 [], above `start` unless the part may be empty, at most the size of the axis. */
  readonly end: Value;
  /** The name of the size of the part; the same name for parts of the same size. */
  readonly size: string;
  /** Whether the part may have no elements; default false. */
  readonly mayBeEmpty?: boolean;
}

/**
 * The part of x from `start` to before `end` on an axis, where these are data. Its size has a name.
 *
 * Shapes   x [batch, seq, 7], axis 1, size 'part' → [batch, part, 7]
 * Dtypes   any
 * Throws   ShapeError when there is no such axis
 * Lowers   everywhere: Slice
 * Example  const part = (start: Value, end: Value) => ops.sliceBetween(x, { axis: 1, start, end, size: 'part' });
 */
export function sliceBetween(x: Value, options: SliceBetweenOptions): Value {
  given('sliceBetween', { x, options }, { options: anObject });
  const { axis, start, end, size, mayBeEmpty = false } = options;
  const along = x.graph.located('Slice', [x], () => axisOf(axis, x.rank));
  const one = (n: Value | number): Value => (typeof n === 'number' ? x.graph.number([n], 'int64') : reshape(n, [1]));
  const operands = { x, starts: one(start), ends: one(end), axes: one(along), steps: one(1) };
  return apply(SliceBetween, operands, { axis: along, size, most: x.dims[along]!, mayBeEmpty })[0]!;
}
