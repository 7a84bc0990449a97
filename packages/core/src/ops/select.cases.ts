// Sample applications of the ops of select.ts, gather.ts and scatter.ts.
import type { CaseInput, OpCase } from '../testing/op-suite';
import * as ops from './select';

const f = (dims: CaseInput['dims'], values?: readonly number[]): CaseInput => ({
  dtype: 'float32',
  dims,
  ...(values && { values }),
});
const at = (dims: CaseInput['dims'], high: number, low = -high - 1): CaseInput => ({ dtype: 'int64', dims, low, high });
const fixed = (dims: readonly number[], values: readonly number[]): CaseInput => ({ dtype: 'int64', dims, values });
const reductions: readonly ops.ScatterReduction[] = ['add', 'mul', 'max', 'min'];
/** Away from 0, where the gradient of a product divides. */
const positive = (dims: CaseInput['dims']): CaseInput => ({ dtype: 'float32', dims, low: 0.4, high: 2 });

export const cases: readonly OpCase[] = [
  {
    name: 'gather: rows',
    inputs: [f([5, 3]), at(['batch', 'seq'], 4)],
    build: (_, x, i) => ops.gather(x, i),
    sizes: { batch: 2 },
  },
  { name: 'gather: middle axis', inputs: [f(['a', 5, 2]), at(['n', 1, 2], 4)], build: (_, x, i) => ops.gather(x, i, 1) },
  { name: 'gather: last axis, one index', inputs: [f(['a', 'b']), fixed([], [-1])], build: (_, x, i) => ops.gather(x, i, -1) },
  { name: 'gather: no index', inputs: [f([5, 2]), at([0], 4)], build: (_, x, i) => ops.gather(x, i) },
  {
    name: 'gather: int32 indices, integers',
    inputs: [
      { dtype: 'int64', dims: [5, 3] },
      { dtype: 'int32', dims: ['n'], low: 0, high: 4 },
    ],
    build: (_, x, i) => ops.gather(x, i),
  },
  {
    name: 'gather',
    inputs: [f([3, 2], [1, 1.2, 2.3, 3.4, 4.5, 5.7]), fixed([2, 2], [0, 1, 1, -1])],
    build: (_, x, i) => ops.gather(x, i),
    expected: [[1, 1.2, 2.3, 3.4, 2.3, 3.4, 4.5, 5.7]],
  },

  {
    name: 'gatherElements: first axis',
    inputs: [f([5, 'b', 3]), at([7, 'b', 3], 4)],
    build: (_, x, i) => ops.gatherElements(x, i, 0),
  },
  {
    name: 'gatherElements: last axis',
    inputs: [f(['b', 5]), at(['b', 'k'], 4)],
    build: (_, x, i) => ops.gatherElements(x, i, -1),
  },
  { name: 'gatherElements: fewer rows', inputs: [f([5, 7]), at([3, 2], 6)], build: (_, x, i) => ops.gatherElements(x, i, 1) },
  { name: 'gatherElements: nothing', inputs: [f([5, 7]), at([5, 0], 6)], build: (_, x, i) => ops.gatherElements(x, i, 1) },
  {
    name: 'gatherElements',
    inputs: [f([3, 3], [1, 2, 3, 4, 5, 6, 7, 8, 9]), fixed([2, 3], [1, 2, 0, -1, 0, 0])],
    build: (_, x, i) => ops.gatherElements(x, i, 0),
    expected: [[4, 8, 3, 7, 2, 3]],
  },

  { name: 'gatherND: rows', inputs: [f([2, 3, 'd']), at(['n', 2], 1)], build: (_, x, i) => ops.gatherND(x, i) },
  {
    name: 'gatherND: elements',
    inputs: [f([3, 5]), at(['a', 'b', 2], 2)],
    build: (_, x, i) => ops.gatherND(x, i),
    sizes: { a: 2, b: 3 },
  },
  { name: 'gatherND: a batch axis', inputs: [f(['b', 3, 2]), at(['b', 'n', 1], 2)], build: (_, x, i) => ops.gatherND(x, i, 1) },
  {
    name: 'gatherND: two batch axes',
    inputs: [f(['b', 2, 3, 5]), at(['b', 2, 1], 2)],
    build: (_, x, i) => ops.gatherND(x, i, 2),
  },
  { name: 'gatherND: nothing', inputs: [f([3, 5]), at([0, 1], 2)], build: (_, x, i) => ops.gatherND(x, i) },
  {
    name: 'gatherND: batches',
    inputs: [f([2, 2, 2], [0, 1, 2, 3, 4, 5, 6, 7]), fixed([2, 1], [1, 0])],
    build: (_, x, i) => ops.gatherND(x, i, 1),
    expected: [[2, 3, 4, 5]],
  },

  {
    name: 'scatterND: rows',
    inputs: [f([5, 3, 'd']), fixed([2, 1], [4, 1]), f([2, 3, 'd'])],
    build: (_, x, i, u) => ops.scatterND(x, i, u),
  },
  ...reductions.map(
    (how): OpCase => ({
      name: `scatterND: ${how}, repeated indices`,
      inputs: [positive([3, 2, 'd']), fixed([5, 2], [0, 1, 2, 0, 0, 1, -1, 0, 1, 1]), positive([5, 'd'])],
      build: (_, x, i, u) => ops.scatterND(x, i, u, how),
    }),
  ),
  {
    name: 'scatterND',
    inputs: [f([8], [1, 2, 3, 4, 5, 6, 7, 8]), fixed([4, 1], [4, 3, 1, -1]), f([4], [9, 10, 11, 12])],
    build: (_, x, i, u) => ops.scatterND(x, i, u),
    expected: [[1, 11, 3, 10, 9, 6, 7, 12]],
  },
  {
    name: 'scatterND: nothing',
    inputs: [f([3, 2]), at([0, 1], 2), f([0, 2])],
    build: (_, x, i, u) => ops.scatterND(x, i, u, 'add'),
  },
  {
    name: 'scatterND: integers wrap around',
    inputs: [
      { dtype: 'int8', dims: [2], values: [100, 1] },
      fixed([2, 1], [0, 0]),
      { dtype: 'int8', dims: [2], values: [100, 1] },
    ],
    build: (_, x, i, u) => ops.scatterND(x, i, u, 'add'),
    expected: [[-55, 1]],
  },
  {
    name: 'scatterND: bools',
    inputs: [{ dtype: 'bool', dims: [5] }, fixed([1, 1], [2]), { dtype: 'bool', dims: [1] }],
    build: (_, x, i, u) => ops.scatterND(x, i, u),
  },

  {
    name: 'scatterElements: last axis',
    inputs: [f([2, 5]), fixed([2, 2], [4, 1, -5, 3]), f([2, 2])],
    build: (_, x, i, u) => ops.scatterElements(x, i, u, -1),
  },
  ...reductions.map(
    (how): OpCase => ({
      name: `scatterElements: ${how}, repeated indices`,
      inputs: [positive([3, 'b']), at([5, 'b'], 2), positive([5, 'b'])],
      build: (_, x, i, u) => ops.scatterElements(x, i, u, 0, how),
    }),
  ),
  {
    name: 'scatterElements',
    inputs: [f([1, 5], [1, 2, 3, 4, 5]), fixed([1, 2], [1, -2]), f([1, 2], [1.1, 2.1])],
    build: (_, x, i, u) => ops.scatterElements(x, i, u, 1),
    expected: [[1, 1.1, 3, 2.1, 5]],
  },

  {
    name: 'oneHot',
    inputs: [fixed([4], [0, 2, -1, 3])],
    build: (_, i) => ops.oneHot(i, 3),
    expected: [[1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]],
  },
  { name: 'oneHot: first axis', inputs: [at(['batch', 2], 4)], build: (_, i) => ops.oneHot(i, 5, { axis: 0 }) },
  {
    name: 'oneHot: middle axis',
    inputs: [at(['batch', 2], 6)],
    build: (_, i) => ops.oneHot(i, 5, { axis: -2, dtype: 'int64', values: [-3, 7] }),
  },
  {
    name: 'oneHot: symbolic depth',
    inputs: [at(['n'], 6), f(['depth'])],
    build: (_, i, d) => ops.oneHot(i, d.dims[0]!, { dtype: 'bool' }),
    differentiable: false,
  },
  { name: 'oneHot: scalar', inputs: [fixed([], [1])], build: (_, i) => ops.oneHot(i, 3), expected: [[0, 1, 0]] },

  { name: 'topK: largest', inputs: [f(['batch', 7])], build: (_, x) => ops.topK(x, 3) },
  { name: 'topK: smallest, middle axis', inputs: [f([2, 'n', 3])], build: (_, x) => ops.topK(x, 2, { axis: 1, largest: false }) },
  {
    name: 'topK: symbolic k',
    inputs: [f(['batch', 'n']), f(['k'])],
    build: (_, x, k) => ops.topK(x, k.dims[0]!),
    sizes: { n: 7, k: 3 },
    differentiable: [0],
  },
  { name: 'topK: none', inputs: [f(['batch', 7])], build: (_, x) => ops.topK(x, 0) },
  {
    name: 'topK: of equals',
    inputs: [f([2, 4], [1, 3, 3, 2, 5, 5, 5, 5])],
    build: (_, x) => ops.topK(x, 3),
    differentiable: 'elsewhere',
    expected: [
      [3, 3, 2, 5, 5, 5],
      [1, 2, 3, 0, 1, 2],
    ],
  },
];
