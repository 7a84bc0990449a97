import { describe, expect, test } from 'vitest';
import { checkOp } from '../testing';
import { argMax, logSumExp, reduceMean, reduceSum } from './reduce';
import { cases } from './reduce.cases';
import { cumSum, triu } from './scan';
import { softmax } from './softmax';
import { GraphBuilder } from './vocabulary';

test.each(cases.map((c) => [c.name, c] as const))('%s', (_, c) => checkOp(c));

const g = new GraphBuilder();
const x = g.input('x', 'float32', ['batch', 3, 'seq']);
const encode = ({ producer }: typeof x) => producer!.op.encode!(producer!);

test('over no axis is the value itself', () => {
  expect(reduceSum(x, [])).toBe(x);
  expect(reduceMean(x, [], { keepDims: false })).toBe(x);
});

test('axes are counted from the front, so that equal nodes are one', () => {
  expect(reduceSum(x, [-1, 0])).toBe(reduceSum(x, [0, 2]));
  expect(softmax(x)).toBe(softmax(x, 2));
  expect(cumSum(x, -1)).toBe(cumSum(x, 2));
  expect(argMax(x, -3)).toBe(argMax(x, 0));
});

describe('encode', () => {
  test('writes axes as an operand', () => {
    const { operands, attributes } = encode(reduceSum(x, [-1, 0]));
    expect(operands).toEqual([x, { dtype: 'int64', dims: [2], data: BigInt64Array.of(0n, 2n) }]);
    expect(attributes).toEqual({ keepdims: { kind: 'int', value: 1 } });
  });
  test('writes the axis of CumSum and the diagonal of Trilu as scalars', () => {
    expect(encode(cumSum(x, -1, { reverse: true }))).toMatchObject({
      operands: [x, { dims: [], data: BigInt64Array.of(2n) }],
      attributes: { exclusive: { kind: 'int', value: 0 }, reverse: { kind: 'int', value: 1 } },
    });
    expect(encode(triu(x, -4))).toMatchObject({
      operands: [x, { dims: [], data: BigInt64Array.of(-4n) }],
      attributes: { upper: { value: 1 } },
    });
  });
});

test('what does not fit is refused', () => {
  expect(() => reduceSum(x, [3])).toThrow(
    'ReduceSum: there is no axis 3; expected -3 to 2, got 3. Operands: float32[batch, 3, seq]',
  );
  expect(() => reduceSum(x, undefined as never)).toThrow('ReduceSum: axes are missing; expected a list of axes, got nothing');
  expect(() => reduceMean(x, [0, -3])).toThrow('ReduceMean: axis 0 is named twice; expected different axes, got [0, 0]');
  expect(() => softmax(g.number(1, 'float32'))).toThrow(
    'Softmax: there is no axis -1; expected no axis, since the operand is a scalar',
  );
  expect(() => logSumExp(g.input('n', 'int64', [2]), [0])).toThrow('expected a float dtype, got int64');
  expect(() => argMax(g.input('e', 'float32', [0]), 0)).toThrow('ArgMax: axis 0 has no elements');
  expect(() => triu(g.input('v', 'float32', [3]))).toThrow(
    'Trilu: a triangle requires a matrix; expected at least 2 axes, got 1',
  );
});
