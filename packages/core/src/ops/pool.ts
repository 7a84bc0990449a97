// Pooling: one number from every window of each channel.

import { given } from '../given';
import { countIn, defineOp, type Op, type Sizes, type TensorType } from '../ir/define-op';
import { apply, type Value, type Vocabulary } from '../ir/graph';
import { toTensor } from '../tensor/convert';
import { countOf, type NDArray } from '../tensor/tensor';
import { accept } from './accept';
import { reduceMean } from './reduce';
import {
  fitted,
  placesOf,
  spatialAxes,
  spatialOf,
  unfold,
  type Window,
  type WindowOptions,
  windowCounts,
  windowOf,
} from './sliding';

const pooledType = (x: TensorType | undefined, window: Window): readonly TensorType[] => {
  const { dtype, dims } = accept(x, 'float');
  return [{ dtype, dims: [...dims.slice(0, 2), ...windowCounts(spatialOf(x!), window)] }];
};

/** f computes one number from the elements of a window: x[at + place] for the places from `first` to before `end` that are not -1. */
function pooled(
  x: NDArray,
  window: Window,
  f: (x: Float64Array, at: number, places: Int32Array, first: number, end: number) => number,
): NDArray {
  const spatial = x.dims.slice(2);
  const counts = windowCounts(spatial, window) as number[];
  const places = placesOf(spatial, counts, window);
  const [plane, windows, elements] = [countOf(spatial), countOf(counts), countOf(window.kernel_shape)];
  const dims = [...x.dims.slice(0, 2), ...counts];
  const data = Float64Array.from({ length: countOf(dims) }, (_, i) => {
    const first = (i % windows) * elements;
    return f(x.data, Math.floor(i / windows) * plane, places, first, first + elements);
  });
  return { dtype: x.dtype, dims, data };
}

/** Gradients of all elements of the windows, [batch*channels, elements or 1, ...counts], summed at the elements that they cover. */
function folded(grads: Value, x: Value, window: Window, ops: Vocabulary): Value {
  const { strides, dilations, kernel_shape } = window;
  const [n, elements] = [grads.dims[1] as number, countOf(kernel_shape)];
  const all = { dtype: x.dtype, dims: [1, elements], data: new Float64Array(elements).fill(1) };
  const kernel = n === 1 ? x.graph.constant(toTensor(all)) : ops.eye(x, elements, x.dtype);
  const covered = ops.convTranspose(grads, ops.reshape(kernel, [n, 1, ...kernel_shape]), undefined, { strides, dilations });
  return ops.reshape(fitted(covered, spatialOf(x), window, ops), x.dims);
}

// Each window is read once for each of its results.
const windowFlops = (
  { outputs: [y], attrs }: { readonly outputs: readonly Value[]; readonly attrs: { readonly kernel_shape: readonly number[] } },
  sizes: Sizes,
): number => countIn(y!, sizes) * countOf(attrs.kernel_shape);

// ---- Averages -------------------------------------------------------------------------------------------------------

type AverageAttrs = Omit<Window, 'dilations'> & { readonly count_include_pad: 0 | 1 };
const withoutDilation = (attrs: AverageAttrs): Window => ({ ...attrs, dilations: attrs.strides.map(() => 1) });

/** ONNX AveragePool. */
export const AveragePool: Op<AverageAttrs> = defineOp<AverageAttrs>({
  key: 'AveragePool',
  since: 11,
  attributes: { kernel_shape: 'ints', strides: 'ints', pads: 'ints', count_include_pad: 'int' },
  infer: ([x], attrs) => pooledType(x, withoutDilation(attrs)),
  flops: windowFlops,
  evaluate([x], attrs) {
    const mean = pooled(x!, withoutDilation(attrs), (data, at, places, first, end) => {
      let [sum, count] = [0, 0];
      for (let i = first; i < end; i++) {
        if (places[i]! >= 0) sum += data[at + places[i]!]!;
        if (places[i]! >= 0 || attrs.count_include_pad) count++;
      }
      return sum / count;
    });
    return [mean];
  },
  vjp({ operands: [x], attrs }, [grad], ops) {
    if (!grad) return [];
    const shares = ops.div(grad, elementCounts(x!, attrs, ops));
    return [folded(ops.unsqueeze(ops.flattenAxes(shares, 0, 1), [1]), x!, withoutDilation(attrs), ops)];
  },
});

function elementCounts(
  x: Value,
  { kernel_shape, strides, pads, count_include_pad }: AverageAttrs,
  { fill, mul }: Vocabulary,
): Value | number {
  const elements = countOf(kernel_shape);
  if (count_include_pad || pads.every((n) => n === 0)) return elements;
  const ones = fill(x, [1, 1, ...spatialOf(x)], 1, x.dtype);
  return mul(averagePool(ones, kernel_shape, { strides, pads, countPads: true }), elements);
}

/**
 * The mean of every window.
 *
 * Shapes   [batch, channels, ...spatial] → [batch, channels, ...], on each axis floorDiv(size + pads - kernel, stride) + 1
 * Dtypes   floats
 * Throws   ShapeError when the window does not fit
 * Lowers   everywhere: AveragePool
 *
 * @param kernel sizes of the window
 * @param o `countPads`: whether pads count as zeros (otherwise they are excluded); default false
 */
export function averagePool(
  x: Value,
  kernel: number | readonly number[],
  o: Omit<WindowOptions, 'dilations'> & { readonly countPads?: boolean } = {},
): Value {
  given('averagePool', { x });
  const { kernel_shape, strides, pads } = windowOf(AveragePool.key, x, kernel, o);
  return apply(AveragePool, [x], {
    kernel_shape,
    strides,
    pads,
    count_include_pad: o.countPads ? 1 : 0,
  } satisfies AverageAttrs)[0]!;
}

/**
 * The mean over all spatial axes.
 *
 * Shapes   [batch, channels, ...spatial] → [batch, channels, 1, …]
 * Dtypes   numbers
 * Throws   nothing
 * Lowers   everywhere: ReduceMean
 */
export const globalAveragePool = (x: Value): Value => {
  given('globalAveragePool', { x });
  return reduceMean(x, spatialAxes(x));
};

// ---- Maxima ---------------------------------------------------------------------------------------------------------

/** ONNX MaxPool. */
export const MaxPool: Op<Window> = defineOp<Window>({
  key: 'MaxPool',
  since: 12,
  attributes: { kernel_shape: 'ints', strides: 'ints', pads: 'ints', dilations: 'ints' },
  infer: ([x], attrs) => pooledType(x, attrs),
  flops: windowFlops,
  evaluate([x], attrs) {
    const largest = pooled(x!, attrs, (data, at, places, first, end) => {
      let most = Number.NEGATIVE_INFINITY;
      for (let i = first; i < end; i++) if (places[i]! >= 0) most = Math.max(most, data[at + places[i]!]!);
      return most;
    });
    return [largest];
  },
  // Equal largest elements share the gradient.
  vjp({ operands: [x], outputs: [y], attrs }, [grad], ops) {
    if (!grad) return [];
    const elements = unfold(x!, attrs, Number.NEGATIVE_INFINITY, ops);
    const chosen = ops.cast(ops.equal(elements, ops.unsqueeze(y!, [2])), x!.dtype);
    const shares = ops.mul(chosen, ops.div(ops.unsqueeze(grad, [2]), ops.reduceSum(chosen, [2])));
    return [folded(ops.flattenAxes(shares, 0, 1), x!, attrs, ops)];
  },
});

/**
 * The largest element of every window.
 *
 * Shapes   [batch, channels, ...spatial] → [batch, channels, ...], on each axis
 *          floorDiv(size + pads - dilation * (kernel - 1) - 1, stride) + 1
 * Dtypes   floats
 * Throws   ShapeError when the window does not fit
 * Lowers   everywhere: MaxPool
 */
export const maxPool = (x: Value, kernel: number | readonly number[], o: WindowOptions = {}): Value => {
  given('maxPool', { x });
  return apply(MaxPool, [x], windowOf(MaxPool.key, x, kernel, o))[0]!;
};
