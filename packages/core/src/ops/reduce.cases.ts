// Sample applications of the ops of reduce.ts, softmax.ts and scan.ts.
import type { Operand, Value } from '../ir/graph';
import type { CaseInput, OpCase } from '../testing/op-suite';
import * as ops from './reduce';
import { cumSum, tril, trilu, triu } from './scan';
import { logSoftmax, softmax } from './softmax';

const f = (dims: CaseInput['dims'], rest: Partial<CaseInput> = {}): CaseInput => ({ dtype: 'float32', dims, ...rest });
const rows = (values: readonly number[], dims: readonly number[] = [2, 3]): CaseInput => f(dims, { values });

type Reduce = (x: Operand, axes: readonly number[], options?: ops.ReduceOptions) => Value;
const reduction = (name: string, op: Reduce, expected: readonly number[], range: Partial<CaseInput> = {}): readonly OpCase[] => [
  { name: `${name}: last axis`, inputs: [f(['batch', 3, 5], range)], build: (_, x) => op(x, [-1]) },
  { name: `${name}: middle axis dropped`, inputs: [f([2, 'seq', 3], range)], build: (_, x) => op(x, [1], { keepDims: false }) },
  { name: `${name}: two axes`, inputs: [f(['a', 3, 'b', 2], range)], build: (_, x) => op(x, [-2, 0], { keepDims: false }) },
  { name: `${name}: two axes kept`, inputs: [f(['a', 3, 'b'], range)], build: (_, x) => op(x, [2, 1]) },
  { name: `${name}: all axes`, inputs: [f(['a', 3], range)], build: (_, x) => op(x, [0, 1], { keepDims: false }) },
  { name: `${name}: an axis of size 1`, inputs: [f(['a', 1], range)], build: (_, x) => op(x, [1]) },
  { name: `${name}: empty result`, inputs: [f([0, 3], range)], build: (_, x) => op(x, [1]) },
  { name, inputs: [rows([1, -2, 3, 0.5, 4, -1])], build: (_, x) => op(x, [1], { keepDims: false }), expected: [expected] },
];
const apart = { low: -50, high: 50 };
const { NEGATIVE_INFINITY: minusInfinity } = Number;

const arg = (name: string, op: typeof ops.argMax, first: readonly number[], last: readonly number[]): readonly OpCase[] => [
  { name: `${name}: last axis`, inputs: [f(['batch', 5])], build: (_, x) => op(x, -1), differentiable: false },
  { name: `${name}: dropped`, inputs: [f([3, 'seq', 2])], build: (_, x) => op(x, 1, { keepDims: false }), differentiable: false },
  {
    name: `${name}: of equals`,
    inputs: [rows([1, 4, 4, 1, 0, 0, 3, 0], [2, 4])],
    build: (_, x) => [op(x, 1, { keepDims: false }), op(x, 1, { keepDims: false, last: true })],
    differentiable: false,
    expected: [first, last],
  },
];

export const cases: readonly OpCase[] = [
  ...reduction('reduceSum', ops.reduceSum, [2, 3.5]),
  ...reduction('reduceMean', ops.reduceMean, [2 / 3, 3.5 / 3]),
  ...reduction('reduceMax', ops.reduceMax, [3, 4], apart),
  ...reduction('reduceMin', ops.reduceMin, [-2, -1], apart),
  ...reduction('reduceProd', ops.reduceProd, [-6, -2], { low: 0.5, high: 1.5 }),
  ...reduction('reduceL2', ops.reduceL2, [Math.sqrt(14), Math.sqrt(17.25)]),
  ...reduction('reduceSumSquare', ops.reduceSumSquare, [14, 17.25]),
  ...reduction('logSumExp', ops.logSumExp, [
    Math.log(Math.exp(1) + Math.exp(-2) + Math.exp(3)),
    Math.log(Math.exp(0.5) + Math.exp(4) + Math.exp(-1)),
  ]),
  {
    name: 'reduceProd: zeros',
    inputs: [rows([2, 0, 3, 0, 0, 5, 1, 2, 4], [3, 3])],
    build: (_, x) => ops.reduceProd(x, [1]),
    expected: [[0, 0, 8]],
  },
  {
    name: 'reduceL2 at 0',
    inputs: [rows([0, 0, 0, 3, 4, 0])],
    build: (_, x) => ops.reduceL2(x, [1]),
    differentiable: 'elsewhere',
    expected: [[0, 5]],
  },
  {
    name: 'reduceL2 does not overflow',
    referenceOnly: 'its numbers are beyond float32',
    inputs: [rows([3e200, 4e200], [1, 2])],
    build: (_, x) => ops.reduceL2(x, [1]),
    differentiable: 'elsewhere',
    expected: [[5e200]],
  },
  {
    name: 'logSumExp: far off',
    inputs: [rows([1000, 1000, minusInfinity, minusInfinity, minusInfinity, minusInfinity])],
    build: (_, x) => ops.logSumExp(x, [1]),
    differentiable: 'elsewhere',
    expected: [[1000 + Math.log(2), minusInfinity]],
  },
  {
    name: 'of nothing',
    inputs: [f([2, 0])],
    build: (_, x) => [
      ops.reduceSum(x, [1]),
      ops.reduceProd(x, [1]),
      ops.reduceMax(x, [1]),
      ops.reduceMin(x, [1]),
      ops.reduceL2(x, [1]),
    ],
    expected: [
      [0, 0],
      [1, 1],
      [minusInfinity, minusInfinity],
      [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY],
      [0, 0],
    ],
  },
  {
    name: 'of integers',
    inputs: [{ dtype: 'int32', dims: [2, 3], values: [2 ** 31 - 2, 1, 0, -5, -2, 0] }],
    build: (_, x) => [ops.reduceSum(x, [1]), ops.reduceMean(x, [1]), ops.reduceMax(x, [1])],
    expected: [
      [2 ** 31 - 1, -7],
      [715827882, -2],
      [2 ** 31 - 2, 0],
    ],
  },
  {
    name: 'equals share the gradient',
    inputs: [rows([1, 3, 3, 5, 5, 5])],
    build: (_, x) => ops.reduceMax(x, [1]),
    differentiable: 'elsewhere',
  },
  ...arg('argMax', ops.argMax, [1, 2], [2, 2]),
  ...arg('argMin', ops.argMin, [0, 0], [3, 3]),

  { name: 'softmax: last axis', inputs: [f(['batch', 3, 5])], build: (_, x) => softmax(x) },
  { name: 'softmax: first axis', inputs: [f(['batch', 3])], build: (_, x) => softmax(x, 0) },
  { name: 'softmax: nothing', inputs: [f([3, 0])], build: (_, x) => softmax(x) },
  {
    name: 'softmax: large and masked elements',
    inputs: [rows([1000, 1000, minusInfinity, minusInfinity, minusInfinity, minusInfinity])],
    build: (_, x) => softmax(x),
    differentiable: 'elsewhere',
    tolerance: { equalNaN: true },
    expected: [[0.5, 0.5, 0, Number.NaN, Number.NaN, Number.NaN]],
  },
  { name: 'logSoftmax: middle axis', inputs: [f(['batch', 3, 2])], build: (_, x) => logSoftmax(x, 1) },
  {
    name: 'logSoftmax: far off',
    inputs: [rows([1000, 0], [1, 2])],
    build: (_, x) => logSoftmax(x),
    differentiable: 'elsewhere',
    expected: [[0, -1000]],
  },

  ...[false, true].flatMap((exclusive) =>
    [false, true].map(
      (reverse): OpCase => ({
        name: `cumSum: ${exclusive ? 'exclusive' : 'inclusive'}${reverse ? ', from the end' : ''}`,
        inputs: [rows([1, 2, 3, 4, 5, 6])],
        build: (_, x) => cumSum(x, 1, { exclusive, reverse }),
        expected: [
          exclusive ? (reverse ? [5, 3, 0, 11, 6, 0] : [0, 1, 3, 0, 4, 9]) : reverse ? [6, 5, 3, 15, 11, 6] : [1, 3, 6, 4, 9, 15],
        ],
      }),
    ),
  ),
  { name: 'cumSum: first axis', inputs: [f(['seq', 2, 3])], build: (_, x) => cumSum(x, 0) },
  { name: 'cumSum: integers', inputs: [{ dtype: 'int64', dims: ['seq', 2] }], build: (_, x) => cumSum(x, -2) },
  { name: 'cumSum: nothing', inputs: [f([2, 0])], build: (_, x) => cumSum(x, 1) },
  {
    name: 'triu and tril',
    inputs: [rows([1, 2, 3, 4, 5, 6])],
    build: (_, x) => [triu(x), tril(x), triu(x, 1), tril(x, -1), triu(x, -1), tril(x, 5)],
    expected: [
      [1, 2, 3, 0, 5, 6],
      [1, 0, 0, 4, 5, 0],
      [0, 2, 3, 0, 0, 6],
      [0, 0, 0, 4, 0, 0],
      [1, 2, 3, 4, 5, 6],
      [1, 2, 3, 4, 5, 6],
    ],
  },
  { name: 'trilu: batches', inputs: [f(['batch', 'n', 3])], build: (_, x) => trilu(x, true, 1) },
  { name: 'tril: bools', inputs: [{ dtype: 'bool', dims: ['n', 'm'] }], build: (_, x) => tril(x) },
];
