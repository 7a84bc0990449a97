// A mixer within windows of an image. Liu et al. 2021, https://arxiv.org/abs/2103.14030
import {
  asImage,
  bool,
  ceilDivDims,
  type Dim,
  defineBlock,
  gridField,
  imageInputs,
  int,
  module,
  mulDims,
  none,
  padded,
  positionsWithin,
  type SequenceContext,
  slot,
  subDims,
  type Value,
} from '@onnxformers/core';
import { computed } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';

/**
 * A mixer within square windows of an image, whose borders may be shifted by half a window: the mixer reads each window as a sequence of its own.
 *
 *     y = windows⁻¹(mixer(windows(roll(x, −s))))      s = ⌊window / 2⌋ if shifted, otherwise 0
 *
 * The image is filled with zeros on the right and below up to whole windows; the mixer reads these cells as ordinary ones. A shifted image is a roll, so its last windows
 * have cells of opposite edges, and a mask lets a cell attend only to those that were its neighbours. An image of which a side is one window is not shifted. Rows and columns
 * of the image are the option `grid`, otherwise those of the patches before the layers, otherwise those of a square.
 *
 * Shapes   x [batch, rows · columns, dim] → the same
 * Dtypes   float32, float16, bfloat16
 * Masks    none: they refer to the whole image
 * Cost     that of the mixer for windows of window² positions
 * Throws   ShapeError where rows and columns are not known or do not fit the number of positions, and from the runner for an image smaller than a window
 * Source   Liu et al. 2021, https://arxiv.org/abs/2103.14030
 * Lowers   as its mixer; around it Pad, Gather, Reshape, Transpose
 * Example  const block = zoo.build('mixer', { name: 'shifted_window', dim: 96, window: 7, shifted: true, mixer: { name: 'multi_head', heads: 3 } });
 */
export const shiftedWindow = defineBlock({
  kind: 'mixer',
  name: 'shifted_window',
  summary: 'A mixer within windows of an image.',
  source: 'Liu et al. 2021, https://arxiv.org/abs/2103.14030',
  masks: [],
  fields: {
    /** channels. Inherited from the enclosing block. */
    dim: int({ doc: 'channels', unit: 'channels', min: 1, inherit: true }),
    /** rows and columns of a window (positions). */
    window: int({ doc: 'rows and columns of a window', unit: 'positions', min: 1 }),
    /** the windows are shifted by half a window. Default: `false`. */
    shifted: bool({ doc: 'the windows are shifted by half a window', default: false }),
    /** [rows, columns] of the image, if no patch embedding sets them and it is not a square. Optional. */
    grid: gridField(),
    /** the mixer of each window. */
    mixer: slot('mixer', { doc: 'the mixer of each window' }),
  },
  inputs: imageInputs,
  examples: [
    { dim: 6, window: 2, grid: [4, 6], mixer: { name: 'multi_head', heads: 3 } },
    { dim: 6, window: 3, shifted: true, grid: [7, 5], mixer: { name: 'multi_head', heads: 2 } },
  ],
  properties: ['batchIndependent'],
  create({ window, shifted, grid, mixer }, { path }) {
    return module({ mixer }, (x: Value, ctx: SequenceContext) => {
      const image = asImage(x, ctx, { grid, path: `${path}.grid` });
      const [batch, rows, columns] = image.dims as [Dim, Dim, Dim, Dim];
      for (const size of [rows, columns])
        x.graph.root.limit({ size, min: window, problem: 'an image smaller than a window', by: `${path}.window` });
      const shift = shifted ? shiftOf(x, [rows, columns], window) : undefined;
      const [down, across] = [axisOf(x, rows, window, shift), axisOf(x, columns, window, shift)];
      const cells = [mulDims(batch, down.count, across.count), window * window] as const;
      const within: SequenceContext = {
        mask: shift ? computed(sameRegion(batch, [down, across], window), 'the regions of a shifted window') : none,
        layout: padded,
        grid: [window, window],
        get positions() {
          return ctx.shared.get(`positions in ${window}² of ${x.id}`, () => positionsWithin(padded, cells, x.graph.root));
        },
        shared: ctx.shared,
      };
      const y = mixer(inWindows(image, [down, across], window), within);
      return ops.reshape(fromWindows(y, image.dims, [down, across], window), [...x.dims.slice(0, 2), y.dims[2]!]);
    });
  },
});

/** Windows along an axis of an image. */
interface Axis {
  readonly size: Dim;
  readonly count: Dim;
  /** Size with whole windows. */
  readonly filled: Dim;
  /** int64 [filled]: the cells in the order of the windows, and back [size]; absent: their own order. */
  readonly order: readonly [there: Value, back: Value] | undefined;
  /** int64 [filled]: equal for cells that were neighbours before the roll. */
  readonly region: Value | undefined;
}

function axisOf({ graph }: Value, size: Dim, window: number, shift: Value | undefined): Axis {
  const g = graph.root;
  const count = ceilDivDims(size, window);
  const filled = mulDims(count, window);
  if (!shift) return { size, count, filled, order: undefined, region: undefined };
  const [whole, cell] = [ops.size(g, filled), ops.iota(g, filled)];
  const there = ops.mod(ops.add(cell, shift), whole);
  const back = ops.mod(ops.sub(ops.add(ops.iota(g, size), whole), shift), whole);
  const from = (start: Value): Value => ops.cast(ops.greaterOrEqual(cell, start), 'int64');
  const region = ops.add(from(ops.sub(whole, window)), from(ops.sub(whole, shift)));
  return { size, count, filled, order: [there, back], region };
}

/** int64 []: half a window, or 0 if a side of the image is one window; undefined if that is known to be 0. */
function shiftOf(x: Value, sizes: readonly [Dim, Dim], window: number): Value | undefined {
  const half = Math.floor(window / 2);
  if (half === 0 || sizes.includes(window)) return undefined;
  const g = x.graph.root;
  if (sizes.every((size) => typeof size === 'number')) return g.number(half, 'int64');
  const [rows, columns] = sizes.map((size) => ops.size(g, size)) as [Value, Value];
  return ops.where(ops.greater(ops.min(rows, columns), window), g.number(half, 'int64'), g.number(0, 'int64'));
}

type Axes = readonly [Axis, Axis];

/** [batch, rows, columns, dim] → [batch · windows, window², dim] */
function inWindows(image: Value, [down, across]: Axes, window: number): Value {
  const [batch, , , dim] = image.dims as [Dim, Dim, Dim, Dim];
  const after = [down, across].map(({ filled, size }) => subDims(filled, size));
  const whole = ops.pad(image, { axes: [1, 2], before: [0, 0], after });
  const rolled = reordered(whole, [down, across], 0);
  const parted = ops.reshape(rolled, [batch, down.count, window, across.count, window, dim]);
  const windows = ops.transpose(parted, [0, 1, 3, 2, 4, 5]);
  return ops.reshape(windows, [mulDims(batch, down.count, across.count), window * window, dim]);
}

/** The inverse of {@link inWindows}, without the cells that fill the image. */
function fromWindows(y: Value, [batch, rows, columns]: readonly Dim[], [down, across]: Axes, window: number): Value {
  const dim = y.dims[2]!;
  const parted = ops.reshape(y, [batch!, down.count, across.count, window, window, dim]);
  const whole = ops.reshape(ops.transpose(parted, [0, 1, 3, 2, 4, 5]), [batch!, down.filled, across.filled, dim]);
  if (down.order) return reordered(whole, [down, across], 1);
  return ops.cropTo(ops.cropTo(whole, 1, rows!), 2, columns!);
}

function reordered(image: Value, [down, across]: Axes, which: 0 | 1): Value {
  if (!down.order || !across.order) return image;
  return ops.gather(ops.gather(image, down.order[which], 1), across.order[which], 2);
}

/** bool [batch · windows, 1, window², window²] */
function sameRegion(batch: Dim, [down, across]: Axes, window: number): Value {
  const rows = ops.reshape(down.region!, [down.count, 1, window, 1]);
  const columns = ops.reshape(across.region!, [1, across.count, 1, window]);
  // Regions of an axis are 0, 1 and 2.
  const cells = window * window;
  const region = ops.reshape(ops.add(ops.mul(rows, 3), columns), [1, mulDims(down.count, across.count), cells]);
  const same = ops.equal(ops.unsqueeze(region, [3]), ops.unsqueeze(region, [2]));
  const all = ops.expand(same, [batch, mulDims(down.count, across.count), cells, cells]);
  return ops.reshape(all, [mulDims(batch, down.count, across.count), 1, cells, cells]);
}
