// Sample applications of the ops of elementwise.ts, unary.ts and bitwise.ts.
import type { Operand, Value } from '../ir/graph';
import type { CaseInput, OpCase } from '../testing/op-suite';
import { bitwiseAnd, bitwiseNot, bitwiseOr, bitwiseXor, shift } from './bitwise';
import * as ops from './elementwise';

const f = (dims: CaseInput['dims'], rest: Partial<CaseInput> = {}): CaseInput => ({ dtype: 'float32', dims, ...rest });
const i64 = (dims: CaseInput['dims'], rest: Partial<CaseInput> = {}): CaseInput => ({ dtype: 'int64', dims, ...rest });

type Binary = (a: Operand, b: Operand) => Value;
const broadcasting = (name: string, op: Binary, positive = false): readonly OpCase[] => {
  const range = positive ? { low: 0.3, high: 2.5 } : {};
  const input = (dims: CaseInput['dims']) => f(dims, range);
  return [
    { name: `${name}: same dims`, inputs: [input(['batch', 3]), input(['batch', 3])], build: (_, a, b) => op(a, b) },
    { name: `${name}: both stretch`, inputs: [input(['batch', 1, 3]), input([5, 1])], build: (_, a, b) => op(a, b) },
    { name: `${name}: the first has fewer axes`, inputs: [input([3]), input([2, 'seq', 3])], build: (_, a, b) => op(a, b) },
    { name: `${name}: scalars`, inputs: [input([]), input([])], build: (_, a, b) => op(a, b) },
    { name: `${name}: a number`, inputs: [input(['seq', 2])], build: (_, a) => op(a!, 1.7) },
    { name: `${name}: a number first`, inputs: [input(['seq', 2])], build: (_, a) => op(1.7, a!) },
    { name: `${name}: itself`, inputs: [input(['seq', 2])], build: (_, a) => op(a, a) },
    { name: `${name}: nothing`, inputs: [input([0, 3]), input([1, 3])], build: (_, a, b) => op(a, b) },
  ];
};

const unary = (
  name: string,
  op: (x: Operand) => Value,
  range: Partial<CaseInput> = {},
  differentiable = true,
): readonly OpCase[] => [
  { name, inputs: [f(['batch', 3, 5], range)], build: (_, x) => op(x), differentiable },
  { name: `${name}: scalar`, inputs: [f([], range)], build: (_, x) => op(x), differentiable },
  { name: `${name}: nothing`, inputs: [f([2, 0], range)], build: (_, x) => op(x), differentiable },
];

const positive = { low: 0.2, high: 3 };
const integers = (op: Binary, name: string, low: number, high: number, expected?: OpCase['expected']): OpCase => ({
  name: `${name}: integers`,
  inputs: [i64(['n', 1], { low: -9, high: 9 }), i64([3], { low, high })],
  build: (_, a, b) => op(a, b),
  ...(expected && { expected }),
});
const listOf = (dtype: CaseInput['dtype'], values: readonly number[]): CaseInput => ({ dtype, dims: [values.length], values });
/** Two lists of numbers and the result. */
const table = (name: string, op: Binary, dtype: CaseInput['dtype'], a: number[], b: number[], expected: number[]): OpCase => ({
  name,
  inputs: [listOf(dtype, a), listOf(dtype, b)],
  build: (_, x, y) => op(x, y),
  differentiable: false,
  expected: [expected],
});

export const cases: readonly OpCase[] = [
  ...broadcasting('add', ops.add),
  ...broadcasting('sub', ops.sub),
  ...broadcasting('mul', ops.mul),
  ...broadcasting('div', ops.div, true),
  ...broadcasting('pow', ops.pow, true),
  ...broadcasting('max', ops.max),
  ...broadcasting('min', ops.min),
  ...broadcasting('fmod', ops.fmod, true).filter(({ name }) => !name.endsWith('itself')),
  integers(ops.add, 'add', -9, 9),
  integers(ops.div, 'div', 1, 4),
  integers(ops.mod, 'mod', 1, 4),
  table('div truncates towards 0', ops.div, 'int32', [7, -7, 7, -7, 1], [2, 2, -2, -2, 3], [3, -3, -3, 3, 0]),
  table('mod has the sign of the divisor', ops.mod, 'int64', [-4, 7, 5, 4, -7, 8], [2, -3, 8, -2, 3, 5], [0, -2, 5, 0, 2, 3]),
  table('fmod has the sign of the dividend', ops.fmod, 'int64', [-4, 7, 5, 4, -7, 8], [2, -3, 8, -2, 3, 5], [0, 1, 5, 0, -1, 3]),
  table('add wraps around', ops.add, 'int8', [127, -128, 100], [1, -1, 100], [-128, 127, -56]),
  table('mul wraps around', ops.mul, 'uint8', [16, 255], [16, 255], [0, 1]),
  {
    name: 'pow: integer exponents',
    inputs: [f(['n'], { low: -2, high: 2 }), i64([], { values: [3] })],
    build: (_, a, b) => ops.pow(a, b),
  },
  {
    name: 'pow: squared',
    inputs: [f(['n'], { values: [-2, 0, 0.5, 3] })],
    build: (_, x) => ops.pow(x!, 2),
    sizes: { n: 4 },
    expected: [[4, 0, 0.25, 9]],
  },
  { name: 'max: three', inputs: [f(['n', 3]), f([3]), f(['n', 1])], build: (_, ...xs) => ops.max(...xs) },
  { name: 'min: one', inputs: [f(['n', 3])], build: (_, x) => ops.min(x) },
  { name: 'max of equals shares', inputs: [f(['n'])], build: (_, x) => ops.max(x, x) },
  { name: 'clip: both bounds', inputs: [f(['n', 5])], build: (_, x) => ops.clip(x, -1, 1.5) },
  { name: 'clip: lower', inputs: [f(['n', 5])], build: (_, x) => ops.clip(x, -0.5) },
  { name: 'clip: upper', inputs: [f(['n', 5])], build: (_, x) => ops.clip(x, undefined, 0.5) },
  ...unary('neg', ops.neg),
  ...unary('abs', ops.abs),
  ...unary('sign', ops.sign),
  ...unary('exp', ops.exp),
  ...unary('log', ops.log, positive),
  ...unary('sqrt', ops.sqrt, positive),
  ...unary('reciprocal', ops.reciprocal, positive),
  ...unary('sin', ops.sin, { low: -9, high: 9 }),
  ...unary('cos', ops.cos, { low: -9, high: 9 }),
  ...unary('tanh', ops.tanh),
  ...unary('erf', ops.erf, { low: -4, high: 4 }),
  ...unary('sigmoid', ops.sigmoid, { low: -9, high: 9 }),
  ...unary('relu', ops.relu),
  ...unary('leakyRelu', (x) => ops.leakyRelu(x, 0.3)),
  ...unary('softplus', ops.softplus, { low: -9, high: 9 }),
  ...unary('floor', ops.floor),
  ...unary('ceil', ops.ceil),
  ...unary('round', ops.round),
  ...unary('isNaN', ops.isNaN, {}, false),
  ...unary('isInf', ops.isInf, {}, false),
  {
    name: 'round: halves go to the even neighbour',
    inputs: [listOf('float32', [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 2.4999, 4503599627370497])],
    build: (_, x) => ops.round(x),
    differentiable: false,
    expected: [[-2, -2, 0, 0, 2, 2, 2, 4503599627370497]],
  },
  {
    name: 'isNaN and isInf tell them apart',
    inputs: [listOf('float32', [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 0])],
    build: (_, x) => [ops.isNaN(x), ops.isInf(x)],
    differentiable: false,
    expected: [
      [1, 0, 0, 0],
      [0, 1, 1, 0],
    ],
  },
  table('bitwiseAnd', bitwiseAnd, 'int32', [12, -1, 5], [10, 7, 0], [8, 7, 0]),
  table('bitwiseOr', bitwiseOr, 'int32', [12, -8, 5], [10, 7, 0], [14, -1, 5]),
  table('bitwiseXor', bitwiseXor, 'int32', [12, -1, 5], [10, 7, 5], [6, -8, 0]),
  table('bitwiseAnd: uint32', bitwiseAnd, 'uint32', [0xffffffff, 0x80000000], [0xf0000001, 0xffffffff], [0xf0000001, 0x80000000]),
  table('bitwiseXor: int64', bitwiseXor, 'int64', [2 ** 40 + 5, -1], [2 ** 40 + 3, 2 ** 33], [6, -1 - 2 ** 33]),
  table('shift left', (a, b) => shift(a, b, 'LEFT'), 'uint8', [1, 200, 3], [7, 1, 0], [128, 144, 3]),
  table('shift right', (a, b) => shift(a, b, 'RIGHT'), 'uint64', [2 ** 40, 200, 3], [33, 3, 9], [128, 25, 0]),
  {
    name: 'bitwiseNot',
    inputs: [listOf('uint8', [0, 5, 255]), listOf('int64', [0, -1, 5])],
    build: (_, a, b) => [bitwiseNot(a), bitwiseNot(b)],
    expected: [
      [255, 250, 0],
      [-1, 0, -6],
    ],
  },
];
