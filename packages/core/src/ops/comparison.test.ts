import { describe, expect, test } from 'vitest';
import { elementTypeOf } from '../onnx/element-type';
import { dtypes } from '../tensor/tensor';
import { checkOp } from '../testing';
import { cast } from './cast';
import { equal, logicalNot, where } from './comparison';
import { cases } from './comparison.cases';
import { elementTypes } from './encode';
import { GraphBuilder } from './vocabulary';

test.each(cases.map((c) => [c.name, c] as const))('%s', (_, c) => checkOp(c));

const g = new GraphBuilder();
const x = g.input('x', 'float32', ['n', 3]);
const keep = g.input('keep', 'bool', ['n', 3]);

describe('cast', () => {
  test('to the same dtype is the value itself', () => {
    expect(cast(x, 'float32')).toBe(x);
  });
  test('through a wider dtype is removed, through a narrower one is not', () => {
    const half = cast(x, 'float16');
    expect(cast(cast(half, 'float32'), 'float16')).toBe(half);
    expect(cast(half, 'float32')).not.toBe(x);
    expect(cast(half, 'float32').producer!.operands[0]).toBe(half);
    expect(cast(cast(keep, 'float32'), 'int64').producer!.operands[0]).toBe(keep);
    const bfloat = cast(half, 'bfloat16');
    expect(cast(bfloat, 'float32').producer!.operands[0]).toBe(bfloat);
  });
  test('is written with the number of the dtype', () => {
    const { op, ...node } = cast(x, 'int64').producer!;
    expect(op.encode!({ op, ...node }).attributes).toEqual({ to: { kind: 'int', value: 7 } });
    for (const dtype of dtypes) expect(elementTypes[dtype]).toBe(elementTypeOf(dtype));
  });
});

test('where of a known condition is the one chosen, unless it would have to stretch', () => {
  const yes = g.number(1, 'bool');
  const row = g.input('row', 'float32', [3]);
  expect(where(yes, x, row)).toBe(x);
  expect(where(g.number(0, 'bool'), row, x)).toBe(x);
  expect(where(yes, row, x).dims).toEqual(['n', 3]);
});

test('not of not is the value itself', () => {
  expect(logicalNot(logicalNot(keep))).toBe(keep);
});

test('what does not fit is refused', () => {
  const other = g.input('other', 'float32', ['m', 3]);
  expect(() => equal(x, other)).toThrow(
    'Equal: n and m cannot be broadcast together; expected equal sizes or 1 on axis -2, got [n, 3] and [m, 3]',
  );
  expect(() => equal(x, keep)).toThrow('Equal: the dtypes differ; cast one; expected float32[n, 3], got bool[n, 3]');
  expect(() => where(x, x, x)).toThrow('Where: wrong dtype for the condition; expected bool, got float32');
  expect(() => where(keep, x, keep)).toThrow('Where: the dtypes differ');
  expect(() => logicalNot(x)).toThrow('Not: wrong dtype for the operand');
});
