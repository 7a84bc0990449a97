// Sliding windows over the spatial axes of [batch, channels, ...spatial]: shared by convolutions and pooling.
import { addDims, type Dim, floorDivDims, mulDims, subDims } from '../dim/dim';
import { printType, type TensorType } from '../ir/define-op';
import { mismatch, type Value, type Vocabulary } from '../ir/graph';

/** Attributes by ONNX's names; `pads` are those before all spatial axes, then those after them. */
export type Window = {
  readonly kernel_shape: readonly number[];
  readonly strides: readonly number[];
  readonly pads: readonly number[];
  readonly dilations: readonly number[];
};

/** How a window moves. A number applies to every spatial axis. */
export interface WindowOptions {
  /** Distance between windows. Default 1. */
  readonly strides?: number | readonly number[];
  /** Padding around the input: one number for each axis, or those before all axes and then those after them. Default 0. */
  readonly pads?: number | readonly number[];
  /** Distance between the elements of a window. Default 1. */
  readonly dilations?: number | readonly number[];
}

/** The window of an operation on x; throws, with the path of the op, when the options do not fit. */
export function windowOf(key: string, x: Value, kernel: number | readonly Dim[], o: WindowOptions): Window {
  const rank = x.rank - 2;
  const list = (name: string, given: number | readonly Dim[], least: number): readonly number[] => {
    const values = typeof given === 'number' ? Array.from({ length: rank }, () => given) : given;
    const fits = values.every((n): n is number => typeof n === 'number' && Number.isInteger(n) && n >= least);
    if (!fits) throw mismatch(`${name} must be known integers of at least ${least}`, undefined, `[${values.join(', ')}]`);
    return values;
  };
  return x.graph.located(key, [x], () => {
    spatialOf(x);
    const [kernel_shape, strides, dilations] = [
      list('the kernel', kernel, 1),
      list('strides', o.strides ?? 1, 1),
      list('dilations', o.dilations ?? 1, 1),
    ];
    const given = list('pads', o.pads ?? 0, 0);
    const pads = given.length === rank ? [...given, ...given] : given;
    const lengths = [kernel_shape.length, strides.length, dilations.length, pads.length / 2];
    if (lengths.some((n) => n !== rank))
      throw mismatch(
        'the window does not fit the spatial axes',
        `${rank} of kernel, strides, dilations; ${rank} or ${2 * rank} pads`,
        lengths.join(', '),
      );
    return { kernel_shape, strides, pads, dilations };
  });
}

/** The spatial sizes of [batch, channels, ...spatial]. */
export function spatialOf(x: TensorType): readonly Dim[] {
  if (x.dims.length < 3) throw mismatch('x has no spatial axis', '[batch, channels, ...spatial]', printType(x));
  return x.dims.slice(2);
}

/** The extent of a window on an axis, from the first to the last element. */
const spanOf = ({ kernel_shape, dilations }: Window, axis: number): number => dilations[axis]! * (kernel_shape[axis]! - 1) + 1;

/** The number of windows on each axis. */
export function windowCounts(spatial: readonly Dim[], window: Window): Dim[] {
  const rank = spatial.length;
  return spatial.map((size, axis) => {
    const room = subDims(addDims(size, window.pads[axis]!, window.pads[rank + axis]!), spanOf(window, axis));
    const count = addDims(floorDivDims(room, window.strides[axis]!), 1);
    // Of an axis without elements there may be no window.
    if (typeof room === 'number' && room < 0 && !(size === 0 && count === 0))
      throw mismatch(
        `the window is longer than spatial axis ${axis} with its pads`,
        `at most ${addDims(room, spanOf(window, axis))}`,
        String(spanOf(window, axis)),
      );
    return count;
  });
}

/** The sizes that windows cover, without the pads. The inverse of `windowCounts`. */
export function coveredSizes(counts: readonly Dim[], window: Window, further: readonly number[]): Dim[] {
  const rank = counts.length;
  return counts.map((count, axis) => {
    const last = mulDims(subDims(count, 1), window.strides[axis]!);
    return addDims(last, spanOf(window, axis), further[axis]!, -window.pads[axis]!, -window.pads[rank + axis]!);
  });
}

/** For every window and each of its elements, in this order: its offset in the spatial axes, -1 in the pads. */
export function placesOf(spatial: readonly number[], counts: readonly number[], window: Window): Int32Array {
  let places = Int32Array.of(0);
  let elements = 1;
  spatial.forEach((size, axis) => {
    const [count, length] = [counts[axis]!, window.kernel_shape[axis]!];
    const windows = places.length / elements;
    const next = new Int32Array(places.length * count * length);
    let at = 0;
    for (let w = 0; w < windows; w++)
      for (let c = 0; c < count; c++)
        for (let e = 0; e < elements; e++)
          for (let k = 0; k < length; k++) {
            const position = c * window.strides[axis]! + k * window.dilations[axis]! - window.pads[axis]!;
            const before = places[w * elements + e]!;
            next[at++] = before < 0 || position < 0 || position >= size ? -1 : before * size + position;
          }
    places = next;
    elements *= length;
  });
  return places;
}

// ---- Gradients ------------------------------------------------------------------------------------------------------

/** Every element of the windows: [batch, channels, ...spatial] → [batch, channels, elements, ...counts]; the pads contain `value`. */
export function unfold(x: Value, window: Window, value: number, { concat, pad, slice, unsqueeze }: Vocabulary): Value {
  const axes = spatialAxes(x);
  const rank = axes.length;
  const padded = pad(x, { axes, before: window.pads.slice(0, rank), after: window.pads.slice(rank) }, value);
  const counts = windowCounts(spatialOf(x), window);
  const elements = indicesOf(window.kernel_shape).map((index) => {
    const starts = index.map((k, axis) => k * window.dilations[axis]!);
    const ends = counts.map((count, axis) => addDims(starts[axis]!, mulDims(subDims(count, 1), window.strides[axis]!), 1));
    return unsqueeze(slice(padded, { axes, starts, ends, steps: window.strides }), [2]);
  });
  return concat(elements, 2);
}

export const spatialAxes = (x: TensorType): number[] => x.dims.slice(2).map((_, i) => i + 2);

function indicesOf(sizes: readonly number[]): number[][] {
  return sizes.reduce<number[][]>(
    (all, size) => all.flatMap((index) => Array.from({ length: size }, (_, k) => [...index, k])),
    [[]],
  );
}

/** From the covered sizes to the sizes of the input: pads are removed, elements that no window covers are 0. */
export function fitted(covered: Value, spatial: readonly Dim[], { pads }: Window, { pad }: Vocabulary): Value {
  const axes = spatialAxes(covered);
  const before = axes.map((_, i) => -pads[i]!);
  const after = axes.map((axis, i) => subDims(addDims(spatial[i]!, pads[i]!), covered.dims[axis]!));
  return pad(covered, { axes, before, after });
}
