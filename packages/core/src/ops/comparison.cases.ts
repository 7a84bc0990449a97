// Sample applications of the ops of comparison.ts and cast.ts.
import type { Operand, Value } from '../ir/graph';
import type { CaseInput, OpCase } from '../testing/op-suite';
import { cast } from './cast';
import * as ops from './comparison';

const bool = (dims: CaseInput['dims']): CaseInput => ({ dtype: 'bool', dims });
const listOf = (dtype: CaseInput['dtype'], values: readonly number[]): CaseInput => ({ dtype, dims: [values.length], values });
const { NaN: nan, POSITIVE_INFINITY: inf } = Number;

const comparison = (name: string, op: (a: Operand, b: Operand) => Value, expected: readonly number[]): readonly OpCase[] => [
  {
    name: `${name}: broadcast`,
    inputs: [
      { dtype: 'int64', dims: ['batch', 1, 3] },
      { dtype: 'int64', dims: [5, 1] },
    ],
    build: (_, a, b) => op(a, b),
  },
  {
    name,
    inputs: [listOf('float32', [1, 2, 3, nan, inf, -0]), listOf('float32', [2, 2, 2, nan, inf, 0])],
    build: (_, a, b) => op(a, b),
    differentiable: false,
    expected: [expected],
  },
  { name: `${name}: nothing`, inputs: [{ dtype: 'int32', dims: [0, 3] }], build: (_, a) => op(a, a) },
];
const logic = (name: string, op: (a: Operand, b: Operand) => Value, expected: readonly number[]): readonly OpCase[] => [
  { name: `${name}: broadcast`, inputs: [bool(['batch', 1]), bool([3])], build: (_, a, b) => op(a, b) },
  {
    name,
    inputs: [listOf('bool', [0, 0, 1, 1]), listOf('bool', [0, 1, 0, 1])],
    build: (_, a, b) => op(a, b),
    expected: [expected],
  },
];
const casting = (
  from: CaseInput['dtype'],
  to: CaseInput['dtype'],
  values: readonly number[],
  expected: readonly number[],
): OpCase => ({
  name: `cast ${from} to ${to}`,
  inputs: [listOf(from, values)],
  build: (_, x) => cast(x, to),
  differentiable: false,
  expected: [expected],
});

export const cases: readonly OpCase[] = [
  ...comparison('equal', ops.equal, [0, 1, 0, 0, 1, 1]),
  ...comparison('less', ops.less, [1, 0, 0, 0, 0, 0]),
  ...comparison('lessOrEqual', ops.lessOrEqual, [1, 1, 0, 0, 1, 1]),
  ...comparison('greater', ops.greater, [0, 0, 1, 0, 0, 0]),
  ...comparison('greaterOrEqual', ops.greaterOrEqual, [0, 1, 1, 0, 1, 1]),
  ...logic('logicalAnd', ops.logicalAnd, [0, 0, 0, 1]),
  ...logic('logicalOr', ops.logicalOr, [0, 1, 1, 1]),
  ...logic('logicalXor', ops.logicalXor, [0, 1, 1, 0]),
  { name: 'logicalNot', inputs: [listOf('bool', [0, 1])], build: (_, x) => ops.logicalNot(x), expected: [[1, 0]] },
  { name: 'equal: bools', inputs: [bool(['n']), bool(['n'])], build: (_, a, b) => ops.equal(a, b) },
  {
    name: 'where: all stretch',
    inputs: [bool(['batch', 1, 1]), { dtype: 'float32', dims: [5, 1] }, { dtype: 'float32', dims: [3] }],
    build: (_, c, a, b) => ops.where(c, a, b),
  },
  {
    name: 'where: numbers',
    inputs: [bool(['n', 3]), { dtype: 'float32', dims: ['n', 3] }],
    build: (_, c, a) => [ops.where(c, a, 0), ops.where(c, -1, a)],
  },
  {
    name: 'where does not touch what is not chosen',
    inputs: [listOf('bool', [1, 0]), listOf('float32', [1, nan]), listOf('float32', [inf, 2])],
    build: (_, c, a, b) => ops.where(c, a, b),
    differentiable: 'elsewhere',
    expected: [[1, 2]],
  },
  { name: 'where: integers', inputs: [bool([7]), { dtype: 'int64', dims: [7] }], build: (_, c, a) => ops.where(c, a, a) },
  {
    name: 'cast between floats',
    referenceOnly: 'the reference does not round to float16',
    inputs: [{ dtype: 'float32', dims: ['n', 3] }],
    build: (_, x) => cast(cast(x, 'float16'), 'float64'),
  },
  casting('float32', 'int64', [1.9, -1.9, 0.5, -0.5], [1, -1, 0, 0]),
  casting('float32', 'bool', [0, 0.1, -3, nan], [0, 1, 1, 1]),
  casting('int32', 'uint8', [255, 256, -1], [255, 0, 255]),
  casting('int64', 'float32', [5, -7], [5, -7]),
  casting('bool', 'float32', [0, 1], [0, 1]),
];
