// Cases of reshapes, transposes, slices, pads, joins and repeats.
import { addDims, mulDims, subDims } from '../dim/dim';
import type { CaseInput, OpCase } from '../testing/op-suite';
import {
  concat,
  cropTo,
  expand,
  flattenAxes,
  flip,
  pad,
  padTo,
  reshape,
  roll,
  slice,
  split,
  squeeze,
  swapLast,
  tile,
  transpose,
  unsqueeze,
  windows,
} from './movement';

const float = (...dims: CaseInput['dims']): CaseInput => ({ dtype: 'float32', dims });
const int64 = (...dims: CaseInput['dims']): CaseInput => ({ dtype: 'int64', dims });
const count = (n: number) => Array.from({ length: n }, (_, i) => i);

const reshapes: readonly OpCase[] = [
  {
    name: 'reshape splits heads by copied sizes',
    inputs: [float('batch', 'seq', 6)],
    build: (_, x) => reshape(x!, [...x!.dims.slice(0, 2), 3, 2]),
  },
  { name: 'reshape to an inferred product', inputs: [float('batch', 'seq', 3)], build: (_, x) => reshape(x!, [-1, 3]) },
  {
    name: 'reshape splits a product',
    inputs: [float('batch*seq', 3), float('batch'), float('seq')],
    build: (_, x, b, s) => reshape(x!, [...b!.dims, ...s!.dims, 3]),
  },
  {
    name: 'reshape joins the first axes and moves a size',
    inputs: [float('batch', 3, 'seq', 2)],
    build: (_, x) => reshape(x!, [-1, x!.dims[2]!, 2]),
  },
  { name: 'reshape to a scalar', inputs: [float(1, 1)], build: (_, x) => reshape(x!, []), differentiable: true },
  { name: 'reshape of an empty array', inputs: [float(0, 5)], build: (_, x) => reshape(x!, [3, 0, 7]) },
  {
    name: 'reshape with an empty axis',
    inputs: [float('past', 6), float('past')],
    sizes: { past: 0 },
    build: (_, x) => reshape(x!, [x!.dims[0]!, 2, 3]),
  },
  {
    name: 'reshape with an axis of size 1 in front of an empty one',
    inputs: [float('past', 'seq')],
    sizes: { past: 0 },
    build: (_, x) => reshape(x!, [x!.dims[0]!, 1, x!.dims[1]!]),
  },
  { name: 'squeeze', inputs: [float(1, 'seq', 1, 3)], build: (_, x) => squeeze(x!, [0, -2]) },
  { name: 'unsqueeze', inputs: [int64('batch', 'seq')], build: (_, x) => unsqueeze(x!, [0, -1]) },
  {
    name: 'squeeze and unsqueeze in one',
    inputs: [float('batch', 1, 'seq')],
    build: (_, x) => reshape(x!, [1, x!.dims[0]!, x!.dims[2]!, 1]),
  },
  { name: 'flattenAxes', inputs: [float('batch', 'heads', 'seq', 2)], build: (_, x) => flattenAxes(x!, 0, 1) },
];

const transposes: readonly OpCase[] = [
  { name: 'transpose', inputs: [float('batch', 'seq', 3, 2)], build: (_, x) => transpose(x!, [0, 2, 1, 3]) },
  { name: 'transpose around', inputs: [int64(2, 3, 5)], build: (_, x) => transpose(x!, [2, 0, 1]) },
  { name: 'transpose of empty rows', inputs: [float(3, 0, 2)], build: (_, x) => transpose(x!, [2, 0, 1]) },
  {
    name: 'transpose, known elements',
    inputs: [{ dtype: 'float32', dims: [2, 3], values: [1, 2, 3, 4, 5, 6] }],
    build: (_, x) => transpose(x!, [1, 0]),
    expected: [[1, 4, 2, 5, 3, 6]],
  },
  { name: 'swapLast', inputs: [float('batch', 'seq', 3)], build: (_, x) => swapLast(x!) },
];

const repeats: readonly OpCase[] = [
  {
    name: 'expand in place',
    inputs: [float('batch', 1, 3), float('seq')],
    build: (_, x, s) => expand(x!, [x!.dims[0]!, ...s!.dims, 3]),
  },
  { name: 'expand by new axes', inputs: [float(3), float('batch', 'seq')], build: (_, x, y) => expand(x!, [...y!.dims, 3]) },
  { name: 'expand to nothing', inputs: [float(1, 3)], build: (_, x) => expand(x!, [0, 3]) },
  {
    name: 'expand a scalar',
    inputs: [float(), float('seq')],
    build: (_, x, s) => expand(x!, [addDims(mulDims(2, s!.dims[0]!), 1)]),
  },
  { name: 'tile', inputs: [float(2, 'seq'), float('batch')], build: (_, x, b) => tile(x!, [b!.dims[0]!, 3]) },
  {
    name: 'tile, known elements',
    inputs: [{ dtype: 'float32', dims: [2], values: [1, 2] }],
    build: (_, x) => tile(x!, [3]),
    expected: [[1, 2, 1, 2, 1, 2]],
  },
  { name: 'tile no times', inputs: [float(2, 3)], build: (_, x) => tile(x!, [2, 0]) },
];

const slices: readonly OpCase[] = [
  {
    name: 'slice two axes',
    inputs: [float('batch', 'seq', 7)],
    build: (_, x) => slice(x!, { axes: [1, 2], starts: [1, 2], ends: [x!.dims[1]!, -2] }),
  },
  { name: 'slice the last rows', inputs: [float('batch', 'seq')], build: (_, x) => slice(x!, { axes: [-1], starts: [-3] }) },
  {
    name: 'slice to a symbolic end',
    inputs: [float('past + seq', 2), float('seq')],
    build: (_, x, s) => slice(x!, { axes: [0], starts: [subDims(x!.dims[0]!, s!.dims[0]!)] }),
  },
  {
    name: 'slice from between',
    inputs: [float('a + b + c', 2), float('a'), float('b'), float('c')],
    build: (_, x, a, b) => slice(x!, { axes: [0], starts: [a!.dims[0]!], ends: [addDims(a!.dims[0]!, b!.dims[0]!)] }),
  },
  {
    name: 'slice by steps',
    inputs: [float('seq', 11)],
    build: (_, x) => slice(x!, { axes: [0, 1], starts: [1, 2], ends: [x!.dims[0]!, 9], steps: [2, 3] }),
  },
  {
    name: 'slice by steps, known elements',
    inputs: [{ dtype: 'int64', dims: [8], values: count(8) }],
    build: (_, x) => slice(x!, { axes: [0], starts: [1], ends: [-1], steps: [2] }),
    expected: [[1, 3, 5]],
  },
  {
    name: 'slice of a slice',
    inputs: [float('seq', 13)],
    build: (_, x) =>
      slice(slice(x!, { axes: [0, 1], starts: [1, 1], steps: [2, 2] }), { axes: [1], starts: [1], ends: [5], steps: [2] }),
  },
  { name: 'slice of nothing', inputs: [float(3, 5)], build: (_, x) => slice(x!, { axes: [1], starts: [5] }) },
  { name: 'slice from the end on', inputs: [float('seq', 5)], build: (_, x) => slice(x!, { axes: [0], starts: [x!.dims[0]!] }) },
  { name: 'flip', inputs: [float('batch', 'seq')], build: (_, x) => flip(x!, 1) },
  {
    name: 'flip of a slice',
    inputs: [{ dtype: 'int64', dims: [5], values: count(5) }],
    build: (_, x) => slice(flip(slice(x!, { axes: [0], starts: [1] }), 0), { axes: [0], starts: [1] }),
    expected: [[3, 2, 1]],
  },
  { name: 'flip of nothing', inputs: [float('past', 2)], sizes: { past: 0 }, build: (_, x) => flip(x!, 0) },
  { name: 'cropTo', inputs: [float('past + seq', 2), float('past')], build: (_, x, p) => cropTo(x!, 0, p!.dims[0]!) },
  { name: 'roll forwards', inputs: [float('seq', 3)], build: (_, x) => roll(x!, 2, 0) },
  {
    name: 'roll backwards',
    inputs: [{ dtype: 'int64', dims: ['seq'], values: count(7) }],
    sizes: { seq: 7 },
    build: (_, x) => roll(x!, -3, 0),
    expected: [[3, 4, 5, 6, 0, 1, 2]],
  },
  {
    name: 'roll far',
    inputs: [{ dtype: 'int64', dims: [5], values: count(5) }],
    build: (_, x) => roll(x!, 12, 0),
    expected: [[3, 4, 0, 1, 2]],
  },
  {
    name: 'windows without overlap',
    inputs: [float('batch', '3*blocks', 2), float('blocks')],
    build: (_, x) => windows(x!, 1, 3, 3),
  },
  {
    name: 'windows with overlap',
    inputs: [float('batch', '2*blocks', 2), float('blocks')],
    build: (_, x) => windows(x!, 1, 6, 2),
  },
  {
    name: 'windows with a rest',
    inputs: [{ dtype: 'int64', dims: ['seq'], values: count(11) }],
    sizes: { seq: 11 },
    build: (_, x) => windows(x!, 0, 4, 3),
    expected: [[0, 1, 2, 3, 3, 4, 5, 6, 6, 7, 8, 9]],
  },
  {
    name: 'windows apart',
    inputs: [{ dtype: 'int64', dims: [11], values: count(11) }],
    build: (_, x) => windows(x!, 0, 2, 5),
    expected: [[0, 1, 5, 6]],
  },
];

const pads: readonly OpCase[] = [
  { name: 'pad', inputs: [float('seq', 3)], build: (_, x) => pad(x!, { axes: [0, 1], before: [2, 0], after: [1, 3] }) },
  {
    name: 'pad by a symbolic amount',
    inputs: [float('seq', 3), float('past')],
    build: (_, x, p) => pad(x!, { axes: [0], before: p!.dims, after: [mulDims(2, p!.dims[0]!)] }, 0.5),
  },
  { name: 'pad and crop', inputs: [float(5, 7)], build: (_, x) => pad(x!, { axes: [0, 1], before: [-1, 2], after: [2, -3] }) },
  {
    name: 'pad an empty axis',
    inputs: [float(0, 3)],
    build: (_, x) => pad(x!, { axes: [0], before: [1], after: [1] }, 7),
    expected: [[7, 7, 7, 7, 7, 7]],
  },
  {
    name: 'pad, known elements',
    inputs: [{ dtype: 'int64', dims: [2], values: [1, 2] }],
    build: (_, x) => pad(x!, { axes: [-1], before: [1], after: [2] }, 9),
    expected: [[9, 1, 2, 9, 9]],
  },
  { name: 'padTo', inputs: [float('batch', 'seq', 2)], sizes: { seq: 5 }, build: (_, x) => padTo(x!, 1, 11) },
  { name: 'padTo cuts what is too long', inputs: [float('seq', 2)], sizes: { seq: 5 }, build: (_, x) => padTo(x!, 0, 3) },
];

const joins: readonly OpCase[] = [
  { name: 'concat', inputs: [float('batch', 'past', 2), float('batch', 'seq', 2)], build: (_, x, y) => concat([x!, y!], 1) },
  { name: 'concat of three', inputs: [int64(2, 3), int64(2, 0), int64(2, 5)], build: (_, ...xs) => concat(xs, -1) },
  {
    name: 'concat, known elements',
    inputs: [
      { dtype: 'float32', dims: [2, 1], values: [1, 2] },
      { dtype: 'float32', dims: [2, 2], values: [3, 4, 5, 6] },
    ],
    build: (_, x, y) => concat([x!, y!], 1),
    expected: [[1, 3, 4, 2, 5, 6]],
  },
  { name: 'split', inputs: [float('seq', 12)], build: (_, x) => split(x!, [7, 5], -1) },
  {
    name: 'split by symbolic sizes',
    inputs: [float('past + seq', 2), float('seq')],
    build: (_, x, s) => split(x!, [subDims(x!.dims[0]!, s!.dims[0]!), s!.dims[0]!], 0),
  },
  { name: 'split, one part unread', inputs: [float(2, 10)], build: (_, x) => split(x!, [2, 3, 5], 1).filter((_, i) => i !== 1) },
  { name: 'split off nothing', inputs: [float(2, 3)], build: (_, x) => split(x!, [0, 3], 1) },
];

export const cases: readonly OpCase[] = [...reshapes, ...transposes, ...repeats, ...slices, ...pads, ...joins];
