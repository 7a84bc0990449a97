import { describe, expect, test } from 'vitest';
import { defineOp, type Op } from '../ir/define-op';
import { apply, type Value } from '../ir/graph';
import { mul } from '../ops/elementwise';
import { reduceSum } from '../ops/reduce';
import { checkOp, checkOps, type OpCase, prepare } from './op-suite';

// x³, right in every respect; each test breaks one part of it.
const Cube: Op = {
  key: 'onnxformers.Cube',
  attributes: {},
  infer: ([x]) => [x!],
  decompose: ([x]) => [mul(x, mul(x, x))],
  evaluate: ([x]) => [{ ...x!, data: x!.data.map((v) => v ** 3) }],
  vjp: ({ operands: [x] }, [g]) => [mul(g, mul(mul(x, x), 3))],
};
const caseOf = (op: Partial<Op>, more: Partial<OpCase> = {}): OpCase => {
  const whole = { ...Cube, ...op } as Op & { vjp?: Op['vjp'] };
  for (const key of Object.keys(op) as (keyof Op)[]) if (op[key] === undefined) delete whole[key as 'vjp'];
  return {
    name: 'cube',
    inputs: [{ dtype: 'float32', dims: ['n', 2] }],
    build: (_, x) => apply(defineOp(whole), [x], {})[0]!,
    ...more,
  };
};

describe('checkOp', () => {
  test('passes what is right', () => {
    checkOp(caseOf({}));
    checkOp(caseOf({ vjp: undefined as never }));
    checkOp(caseOf({ evaluate: undefined as never }));
    checkOp(caseOf({}, { inputs: [{ dtype: 'float32', dims: [2], values: [2, 3] }], expected: [[8, 27]] }));
  });

  test.each<[string, Partial<Op>, Partial<OpCase>, string | RegExp]>([
    [
      'infer',
      { infer: ([x]) => [{ dtype: x!.dtype, dims: [2, 'n'] }] },
      {},
      'was inferred as float32[2, n] = [2,7], but computed',
    ],
    [
      'the dtype',
      { infer: ([x]) => [{ dtype: 'float16', dims: x!.dims }] },
      {},
      'was inferred as float16[n, 2] = [7,2], but computed float32',
    ],
    [
      'decompose',
      { decompose: ([x]) => [mul(x, x)] },
      {},
      /^cube: decompose of y0 and evaluate are not close: .* worst at \[\d, \d\]/,
    ],
    ['vjp', { vjp: ({ operands: [x] }, [g]) => [mul(g, mul(x, x))] }, {}, /^cube: vjp and the measured slope of x0 .* worst at/],
    ['a vjp left out', { vjp: () => [] }, {}, 'cube: vjp and the measured slope of x0'],
    ['a vjp denied', { vjp: 'nonDifferentiable' }, {}, 'onnxformers.Cube has no derivative'],
    [
      'no vjp at all',
      { vjp: undefined as never, decompose: undefined as never },
      {},
      'onnxformers.Cube has neither vjp nor decompose',
    ],
    [
      'the dims of a gradient',
      { vjp: (_, [g]) => [reduceSum(g!, [0], { keepDims: false })] },
      {},
      'cube: the gradient of x0 is float32[2], the operand float32[n, 2]',
    ],
    [
      'a gradient that should not be',
      {},
      { differentiable: false },
      'cube: x0 has a gradient, but the case says that it has none',
    ],
    ['expected elements', {}, { inputs: [{ dtype: 'float32', dims: [1], values: [2] }], expected: [[9]] }, 'expected 9, got 8'],
    [
      'a wrong number of values',
      {},
      { inputs: [{ dtype: 'float32', dims: [2], values: [2] }] },
      'has 2 elements, the case gives 1',
    ],
    ['a case without outputs', {}, { build: () => [] }, 'cube: builds no output'],
  ])('catches %s', (_, op, more, message) => {
    expect(() => checkOp(caseOf(op, more))).toThrow(message);
  });

  test('follows an operand that appears twice in a definition', () => {
    const product: Partial<Op> = {
      infer: ([x]) => [x!],
      decompose: ([a, b]) => [mul(a, mul(a, b))],
      evaluate: ([a, b]) => [{ ...a!, data: a!.data.map((v, i) => v * v * b!.data[i]!) }],
      vjp: undefined as never,
    };
    const op = caseOf(product);
    checkOp({
      ...op,
      build: (_, x) => apply(defineOp({ ...Cube, ...product, vjp: undefined } as unknown as Op), [x, x], {})[0]!,
    });
  });

  test('catches what is wrong only at known sizes', () => {
    const decompose = ([x]: readonly (Value | undefined)[]) => [x!.dims[0] === 'n' ? mul(x, mul(x, x)) : x!];
    expect(() => checkOp(caseOf({ decompose }))).toThrow('cube: decompose at known sizes of y0 and evaluate are not close');
  });

  test('collects what fails', () => {
    checkOps([caseOf({})]);
    const broken = caseOf({ decompose: ([x]) => [mul(x, x)] }, { name: 'broken' });
    expect(() => checkOps([caseOf({}), broken, { ...broken, name: 'too' }])).toThrow(/^broken: [^\n]+\ntoo: [^\n]+$/);
  });
});

describe('prepare', () => {
  const input = { dtype: 'float32', dims: ['a', 'b'], low: 3, high: 4 } as const;
  const c = caseOf({}, { inputs: [input, { dtype: 'uint8', dims: ['a', 'k'] }, { dtype: 'bool', dims: [41] }], sizes: { k: 7 } });

  test('binds names to different primes and keeps given values', () => {
    expect(prepare(c).sizes).toEqual({ a: 5, b: 11, k: 7 });
  });
  test('returns the same data every time, other data for another name, all within range', () => {
    const { feeds } = prepare(c);
    expect(prepare(c).feeds).toEqual(feeds);
    expect(prepare({ ...c, name: 'other' }).feeds.x0!.data).not.toEqual(feeds.x0!.data);
    expect(feeds.x0!.data.every((v) => v >= 3 && v <= 4)).toBe(true);
    expect(new Set(feeds.x0!.data).size).toBe(55);
    expect(feeds.x1!.data.every((v) => Number.isInteger(v) && v >= 0 && v <= 5)).toBe(true);
    expect([...new Set(feeds.x2!.data)].sort()).toEqual([0, 1]);
  });
});
