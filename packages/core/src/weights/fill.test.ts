import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { WeightError } from '../error';
import {
  constant,
  distributionOf,
  type Fans,
  fanIn,
  fansOf,
  type Init,
  lecunNormal,
  normal,
  ones,
  truncatedNormal,
  uniform,
  unset,
  values,
  xavierNormal,
  xavierUniform,
  zeros,
} from '../parameter/init';
import { bytesOfTensor, castTensor, tensor, toArray } from '../tensor/convert';
import { bytesOf, type DType } from '../tensor/tensor';
import { checkInit, fill } from './fill';
import { normalProbability } from './normal-distribution';
import { randomStream } from './random';

const made = (init: Init, dims: readonly number[], dtype: DType = 'float64', path = 'w') =>
  fill(init, dims, randomStream(11, path), { dtype });
const numbers = (init: Init, dims: readonly number[]) => toArray(made(init, dims)).data;
const moments = (x: Float64Array) => {
  const mean = x.reduce((a, b) => a + b, 0) / x.length;
  return {
    mean,
    std: Math.sqrt(x.reduce((a, b) => a + (b - mean) ** 2, 0) / x.length),
    min: x.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY),
    max: x.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY),
  };
};
const hash = (init: Init, dtype: DType, dims = [61, 37]) =>
  createHash('sha256')
    .update(bytesOfTensor(fill(init, dims, randomStream(42, 'layers.0.weight'), { dtype })))
    .digest('hex')
    .slice(0, 16);

describe('fill', () => {
  it('never changes its bytes', () => {
    expect(hash(uniform(-1, 3), 'float32')).toBe('673221136f21d74c');
    expect(hash(normal(0.02), 'float32')).toBe('078885d57d250a4a');
    expect(hash(normal(0.02), 'float16')).toBe('7622c24eeb304b91');
    expect(hash(normal(0.02), 'bfloat16')).toBe('a87c8abcb0e39937');
    expect(hash(truncatedNormal(0.02), 'float64')).toBe('b3c6263cec8aa566');
    expect(hash(xavierUniform(), 'float64')).toBe('ef691c6ccacc3e19');
    expect(hash(lecunNormal(), 'float64')).toBe('28ba37a2afc50d1f');
    expect(hash(fanIn(), 'float64', [311, 487])).toBe('3e32cf01422fb4df');
  });

  it('makes constants', () => {
    expect([...numbers(zeros, [3])]).toEqual([0, 0, 0]);
    expect([...numbers(ones, [])]).toEqual([1]);
    expect([...numbers(constant(0.5), [2, 2])]).toEqual([0.5, 0.5, 0.5, 0.5]);
    expect(made(zeros, [0, 7]).data.length).toBe(0);
  });

  it('has the moments and bounds that the definitions ask for', () => {
    const dims = [307, 401];
    const n = 307 * 401;
    const xavier = Math.sqrt(6 / 708);
    const cases: [Init, { std: number; bound?: number; mean?: number }][] = [
      [uniform(-1, 3), { std: 4 / Math.sqrt(12), mean: 1 }],
      [normal(0.3, 2), { std: 0.3, mean: 2 }],
      [xavierUniform(0.5), { std: (0.5 * xavier) / Math.sqrt(3), bound: 0.5 * xavier }],
      [xavierNormal(0.5), { std: 0.5 * Math.sqrt(2 / 708) }],
      [fanIn(), { std: 1 / Math.sqrt(3 * 401), bound: 1 / Math.sqrt(401) }],
      [fanIn(5), { std: 1 / Math.sqrt(15), bound: 1 / Math.sqrt(5) }],
      [lecunNormal(0.25), { std: Math.sqrt(0.25 / 401) / 0.8796256610342398, bound: 2 }],
      [truncatedNormal(0.7), { std: 0.7 * 0.8796256610342398, bound: 1.4 }],
    ];
    for (const [init, { std, bound, mean = 0 }] of cases) {
      const got = moments(numbers(init, dims));
      expect(Math.abs(got.mean - mean)).toBeLessThan((4 * std) / Math.sqrt(n));
      expect(Math.abs(got.std / std - 1)).toBeLessThan(4 / Math.sqrt(n));
      if (bound !== undefined) expect(Math.max(-got.min, got.max)).toBeLessThanOrEqual(bound);
    }
  });

  it('follows the cut normal distribution, in the middle, on one side and far out', () => {
    for (const [low, high] of [
      [-1.7, 1.7],
      [0.5, 2],
      [-9, -6],
      [6, 9],
      [-0.3, 12],
    ] as const) {
      const std = 0.25;
      const x = numbers(truncatedNormal(std, low * std, high * std), [5003]).toSorted();
      expect([x[0]! >= low * std, x.at(-1)! <= high * std]).toEqual([true, true]);
      // On the upper side distances are those of the mirrored tail, where digits remain.
      const below = (t: number) =>
        low > 0 ? normalProbability(-low) - normalProbability(-t) : normalProbability(t) - normalProbability(low);
      const ks = Math.max(...x.map((v, i) => Math.abs(below(v / std) / below(high) - (i + 0.5) / x.length)));
      expect(ks * Math.sqrt(x.length)).toBeLessThan(1.63);
    }
    expect([...numbers(truncatedNormal(1, 45, 50), [3])]).toEqual([45, 45, 45]);
    expect([...numbers(truncatedNormal(0, -1, 1), [3])].map(Math.abs)).toEqual([0, 0, 0]);
  });

  it('has the same numbers in every dtype, rounded', () => {
    const whole = made(normal(0.6), [70_003]);
    for (const dtype of ['float32', 'float16', 'bfloat16', 'int8', 'int64'] as const) {
      expect(made(normal(0.6), [70_003], dtype)).toEqual(castTensor(whole, dtype));
    }
    const odd = made(uniform(-8, 8), [5], 'int4');
    expect(odd).toEqual(castTensor(made(uniform(-8, 8), [5]), 'int4'));
    expect(odd.data.length).toBe(bytesOf('int4', 5));
  });

  it('initialises concatenated parts, each with its own fans', () => {
    const init: Init = {
      kind: 'rows',
      parts: [
        { rows: 13, init: xavierUniform() },
        { rows: 2, init: zeros },
        { rows: 3, init: constant(9) },
      ],
    };
    const x = numbers(init, [18, 7]);
    expect([...x.subarray(0, 91)]).toEqual([...numbers(xavierUniform(), [13, 7])]);
    expect([...x.subarray(91)]).toEqual([...new Array(14).fill(0), ...new Array(21).fill(9)]);
  });

  it('uses given values', () => {
    const t = tensor('float32', [2], [1, 2.5]);
    expect(made(values(t), [2], 'float32')).toBe(t);
    expect(made(values(t), [2], 'float16')).toEqual(tensor('float16', [2], [1, 2.5]));
  });
});

describe('fans', () => {
  it('counts kernels, and uses given fans', () => {
    expect(fansOf([11, 5])).toEqual([5, 11]);
    expect(fansOf([11, 5, 3, 2])).toEqual([30, 66]);
    const experts = fill(xavierUniform(), [4, 11, 5], randomStream(0, ''), { dtype: 'float64', fans: [5, 11] });
    expect(moments(experts.data as Float64Array).max).toBeGreaterThan(Math.sqrt(6 / 16) * 0.97);
  });

  it('resolves every kind to one of four distributions', () => {
    const resolved = (init: Init, fans: Fans) => distributionOf(init as Parameters<typeof distributionOf>[0], () => fans);
    expect(resolved(xavierUniform(2), [5, 19])).toEqual({ kind: 'uniform', low: -1, high: 1 });
    expect(resolved(fanIn(4), [1, 1])).toEqual({ kind: 'uniform', low: -0.5, high: 0.5 });
    expect(resolved(ones, [1, 1])).toEqual({ kind: 'constant', value: 1 });
  });
});

describe('checkInit', () => {
  const refusal = (init: Init, dims: readonly number[]) => {
    for (const run of [
      () => checkInit(init, dims, { path: 'a.w' }),
      () => fill(init, dims, randomStream(0, ''), { path: 'a.w' }),
    ]) {
      expect(run).toThrow(WeightError);
    }
    try {
      checkInit(init, dims, { path: 'a.w' });
    } catch (error) {
      return (error as Error).message;
    }
    return '';
  };
  it('reports what is wrong', () => {
    expect(refusal(unset, [2])).toBe(
      'a.w: this parameter has no initialisation. Set its init, choose a scheme, or load its weights',
    );
    expect(refusal(xavierUniform(), [7])).toBe(
      'a.w: the initialisation requires a fan in and a fan out; expected dims [out, in, ...kernel], got [7]. Use a plain distribution for a bias, or fanIn(n)',
    );
    expect(refusal(normal(Number.NaN), [2])).toBe('a.w: the std of its initialisation; expected a finite number, got NaN');
    expect(refusal(normal(-1), [2])).toBe('a.w: the std of its initialisation; expected a number >= 0, got -1');
    expect(refusal(uniform(2, 1), [2])).toBe('a.w: the bounds of its initialisation; expected low <= high, got 2 and 1');
    expect(refusal(fanIn(), [3, 0])).toBe('a.w: the low of its initialisation; expected a finite number, got -Infinity');
    expect(refusal(values(tensor('int8', [2], [1, 2])), [2, 1])).toBe(
      'a.w: the initial values have the wrong dims; expected dims [2, 1], got [2]',
    );
    expect(
      refusal(
        {
          kind: 'rows',
          parts: [
            { rows: 2, init: zeros },
            { rows: 4, init: zeros },
          ],
        },
        [7, 3],
      ),
    ).toBe('a.w: the first dims of its parts do not add up to that of the parameter; expected 7 rows for dims [7, 3], got 2 + 4');
    expect(refusal({ kind: 'rows', parts: [{ rows: 7, init: unset }] }, [7, 3])).toContain('no initialisation');
  });

  it('lets pass whatever fill can make', () => {
    const size = fc.integer({ min: 1, max: 9 });
    const init = fc.constantFrom<Init>(
      zeros,
      ones,
      normal(0.1),
      xavierNormal(),
      xavierUniform(),
      lecunNormal(),
      fanIn(),
      truncatedNormal(1, -1, 5),
    );
    fc.assert(
      fc.property(init, fc.array(size, { minLength: 2, maxLength: 4 }), (i, dims) => {
        checkInit(i, dims);
        expect(Array.from(made(i, dims).data as Float64Array).every(Number.isFinite)).toBe(true);
      }),
    );
  });
});
