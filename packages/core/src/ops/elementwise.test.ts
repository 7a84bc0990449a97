import { describe, expect, test } from 'vitest';
import { checkOp } from '../testing';
import { bitwiseAnd, shift } from './bitwise';
import { add, clip, div, erf, exp, fmod, max, min, mod, mul, neg, pow, sub } from './elementwise';
import { cases } from './elementwise.cases';
import { erfOf } from './erf';
import { GraphBuilder } from './vocabulary';

test.each(cases.map((c) => [c.name, c] as const))('%s', (_, c) => checkOp(c));

const g = new GraphBuilder();
const x = g.input('x', 'float32', ['batch', 3]);
const n = g.input('n', 'int64', ['batch', 3]);

describe('operands without effect are removed', () => {
  test.each([
    ['x + 0', () => add(x, 0)],
    ['0 + x', () => add(0, x)],
    ['x - 0', () => sub(x, 0)],
    ['x · 1', () => mul(x, 1)],
    ['1 · x', () => mul(1, x)],
    ['x / 1', () => div(x, 1)],
    ['x¹', () => pow(x, 1)],
    ['x + a row of zeros', () => add(x, g.number([0, 0, 0], 'float32'))],
    ['- - x', () => neg(neg(x))],
    ['max of one', () => max(x)],
    ['min of one', () => min(x)],
    ['clip without bounds', () => clip(x)],
  ])('%s', (_, f) => {
    expect(f()).toBe(x);
  });
  test.each([
    ['0 - x', () => sub(0, x), 'Sub'],
    ['1 / x', () => div(1, x), 'Div'],
    ['1ˣ', () => pow(1, x), 'Pow'],
    ['x · 0', () => mul(x, 0), 'Mul'],
    ['x + zeros that stretch it', () => add(g.input('column', 'float32', ['batch', 1]), g.number([0, 0, 0], 'float32')), 'Add'],
    [
      'x + a zero with more axes',
      () => add(g.input('row', 'float32', [3]), g.constant({ dtype: 'float32', dims: [1, 1], data: new Float32Array(1) })),
      'Add',
    ],
  ])('but not %s', (_, f, key) => {
    expect(f().producer!.op.key).toBe(key);
  });
});

test('numbers take the dtype of the other operand', () => {
  expect(add(n, 2).dtype).toBe('int64');
  expect(add(2, x).dtype).toBe('float32');
});

test('constants are computed at once', () => {
  const seven = add(g.number(3, 'int64'), g.number([4, 5], 'int64'));
  expect(seven.leaf).toMatchObject({ kind: 'constant', tensor: { dtype: 'int64', dims: [2], data: BigInt64Array.of(7n, 8n) } });
});

test('erf is right to the last digits', () => {
  const known: readonly (readonly [number, number])[] = [
    [0, 0],
    [1e-10, 1.1283791670955126e-10],
    [0.5, 0.5204998778130465],
    [1, 0.8427007929497149],
    [2, 0.9953222650189527],
    [2.9999999, 0.9999779094890761],
    [3, 0.9999779095030014],
    [3.5, 0.9999992569016276],
    [5.9, 0.9999999999999999],
    [100, 1],
    [Number.POSITIVE_INFINITY, 1],
  ];
  for (const [at, value] of known) {
    expect(Math.abs(erfOf(at) - value)).toBeLessThanOrEqual(1e-15 * value);
    expect(erfOf(-at) + 0).toBe(-erfOf(at) + 0);
  }
  expect(erfOf(Number.NaN)).toBeNaN();
});

test('what does not fit is refused', () => {
  const other = g.input('other', 'float32', ['past', 3]);
  const half = g.input('half', 'float16', [3]);
  expect(() => add(x, other)).toThrow(
    'Add: batch and past cannot be broadcast together; expected equal sizes or 1 on axis -2, got [batch, 3] and [past, 3]. Operands: float32[batch, 3], float32[past, 3]',
  );
  expect(() => mul(x, g.input('five', 'float32', [5]))).toThrow('Mul: 3 and 5 cannot be broadcast together');
  expect(() => add(x, half)).toThrow('Add: the dtypes differ; cast one; expected float32[batch, 3], got float16[3]');
  expect(() => exp(n)).toThrow('Exp: wrong dtype for the operand; expected a float dtype, got int64');
  expect(() => erf(n)).toThrow('expected a float dtype');
  expect(() => add(g.input('keep', 'bool', [3]), g.input('drop', 'bool', [3]))).toThrow(
    'Add: wrong dtype for operand 0; expected a number dtype, got bool',
  );
  expect(() => mod(x, x)).toThrow('Mod: wrong dtype for operand 0; expected an integer dtype, got float32');
  expect(() => fmod(x, n)).toThrow('Mod: the dtypes differ');
  expect(() => bitwiseAnd(x, x)).toThrow('BitwiseAnd: wrong dtype');
  expect(() => shift(n, n, 'LEFT')).toThrow(
    'BitShift: only unsigned integers can be shifted; expected uint8, uint16, uint32 or uint64, got int64',
  );
  expect(() => clip(x, g.input('bounds', 'float32', [3]))).toThrow('Clip: a bound is not a scalar; expected [], got [3]');
  expect(() => add(x, undefined)).toThrow('Add: an operand is missing; expected two operands, got 1');
  for (const [wrong, got] of [
    [null, 'null'],
    ['1', '"1"'],
    [{}, 'an object with no keys'],
    [[1, 2], '[1, 2]'],
  ])
    expect(() => add(x, wrong as never)).toThrow(
      `Add: operand 1 is not a value; expected a value, a parameter, a tensor or a number, got ${got}`,
    );
  expect(() => div(g.number(1, 'int64'), g.number(0, 'int64'))).toThrow('Div: an integer is divided by 0');
});
