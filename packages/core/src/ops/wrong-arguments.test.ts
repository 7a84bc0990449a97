// Every op with arguments that a program without types may pass: the result is a graph, or an error of the library that names the op.
import { expect, it } from 'vitest';
import { describe as inWords, OnnxformersError } from '../error';
import type { Value } from '../ir/graph';
import * as ops from './index';
import { GraphBuilder } from './vocabulary';

const wrong = [undefined, null, 7, 'x', {}, []];
const functions = Object.entries(ops as Readonly<Record<string, unknown>>).filter(
  (each): each is [string, (...args: unknown[]) => unknown] => typeof each[1] === 'function' && /^[a-z]/.test(each[0]),
);

/** Lists of arguments: none, and one that is wrong among values, alone or with values before it. */
function lists(arity: number, x: Value): unknown[][] {
  const places = Array.from({ length: arity }, (_, i) => i);
  const among = (at: number, argument: unknown, length: number) => Array.from({ length }, (_, i) => (i === at ? argument : x));
  return [[], ...places.flatMap((at) => wrong.flatMap((a) => [among(at, a, arity), among(at, a, at + 1)]))];
}

it.each(functions)('%s', (name, f) => {
  const arity = Math.min(f.length + 1, 5);
  for (let i = 0; ; i++) {
    const g = new GraphBuilder({ dtype: 'float32' });
    const args = lists(arity, g.input('x', 'float32', [2, 3]))[i];
    if (!args) break;
    try {
      f(...args);
    } catch (error) {
      expect(error, `${name}(${args.map(inWords).join(', ')}): ${(error as Error).stack}`).toBeInstanceOf(OnnxformersError);
      expect((error as Error).message, name).not.toMatch(/^: |undefined is|\bNaN\b/);
    }
  }
});

it('a number that an integer dtype cannot represent is refused, and not truncated', () => {
  const g = new GraphBuilder({ dtype: 'float32' });
  const [x, small] = [g.input('x', 'int64', ['n']), g.input('small', 'int8', ['n'])];
  for (const f of [
    () => ops.less(x, 3.5),
    () => ops.mul(0.5, x),
    () => ops.where(ops.less(x, 3), x, Number.POSITIVE_INFINITY),
    () => ops.add(small, 128),
    () => ops.fill(x, ['n'], 1.5, 'int32'),
    () => ops.logicalAnd(ops.less(x, 3), 2),
    () => g.number([0, Number.NaN], 'int64'),
  ])
    expect(f).toThrow(
      / is not a number of dtype (int64|int32|int8|bool); expected (an integer in the range of the dtype|0 or 1)/,
    );
  expect(ops.add(small, -128).dtype).toBe('int8');
});

it('a branch that returns no list, and a value of another graph', () => {
  const g = new GraphBuilder({ dtype: 'float32' });
  const [x, other] = [g.input('x', 'float32', []), new GraphBuilder().input('z', 'float32', [])];
  expect(() => ops.cond(ops.less(x, 0), (() => x) as never, () => [x])).toThrow(
    /branch: it did not return a list; expected a list/,
  );
  expect(() => ops.add(x, other)).toThrow(/^Add: an operand is a value of another graph/);
});

it('the error names the op, the argument, what is expected, what was passed and the call', () => {
  const g = new GraphBuilder({ dtype: 'float32' });
  const x = g.input('x', 'float32', [2, 3]);
  const untyped = ops as unknown as Readonly<Record<string, (...args: unknown[]) => unknown>>;
  const message = (name: string, ...args: unknown[]): string => {
    try {
      untyped[name]!(...args);
    } catch (error) {
      return (error as Error).message;
    }
    return '';
  };
  expect(message('reshape', x)).toBe(
    'reshape: the argument dims is missing; expected a list, got nothing. Pass a list as dims of reshape',
  );
  expect(message('expand', 7, [2])).toBe(
    'expand: wrong argument x; expected a value of a graph, got 7. Pass a value of a graph as x of expand',
  );
  expect(message('concat', x)).toMatch(/^concat: wrong argument xs; expected a list, got a Value/);
  expect(message('einsum', x)).toMatch(/^einsum: wrong argument equation; expected a text, got a Value/);
  expect(message('attendOp', x, x, x)).toMatch(/^attendOp: the argument options is missing; expected an object, got nothing/);
  expect(message('attendOp', x, x, x, {})).toMatch(/^attendOp: the argument options.mask is missing; expected a mask/);
});
