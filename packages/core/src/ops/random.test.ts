import { describe, expect, it, test } from 'vitest';
import { interpret } from '../interpret/interpret';
import { checkOp, expectClose } from '../testing';
import { noise } from './random';
import { cases } from './random.cases';
import { GraphBuilder } from './vocabulary';

test.each(cases.map((c) => [c.name, c] as const))('%s', (_, c) => checkOp(c));

type Key = readonly [number, number];
function draw(
  run: number,
  key: Key,
  count: number,
  of: 'uniform' | 'normal' = 'uniform',
  steps: readonly number[] = [],
): Float64Array {
  const g = new GraphBuilder();
  const at = steps.map((step) => g.number(step, 'int64'));
  g.output('y', noise(g.input('run', 'int64', []), key, [count], of, at));
  return interpret(g.finish(), { run: { dtype: 'int64', dims: [], data: Float64Array.of(run) } }).y!.data;
}

/** The same hash in integers of any size. */
function hashed(counter: bigint, key0: bigint, key1: bigint): bigint {
  const word = 0xffffffffn;
  const mixed = (x: bigint) => (x * (2n * x + 1n)) & word;
  return [key1, key0, key1].reduce((x, key) => mixed((((x << 16n) | (x >> 16n)) + key) & word), mixed((counter + key0) & word));
}
const placed = (run: bigint, steps: readonly bigint[]): readonly [bigint, bigint] => {
  const wraps = run >> 32n;
  const low = run & 0xffffffffn;
  const first = [hashed(low, 0x9e3779b9n, 0x3c6ef372n + wraps), hashed(low, 0xbb67ae85n, 0xa54ff53an + wraps)] as const;
  return steps.reduce<readonly [bigint, bigint]>(([a, b], step) => [hashed(step, a, b), hashed(step, b, a)], first);
};

describe('the hash', () => {
  it.each([
    [0, [0, 0], []],
    [1, [0xdeadbeef, 0x01234567], [0]],
    [2 ** 53 - 1, [0xffffffff, 0xffffffff], [3, 2 ** 31]],
  ] as const)('of run %s under %s in steps %s is exact in float64', (run, key, steps) => {
    const [a, b] = placed(BigInt(run), steps.map(BigInt));
    const expected = Array.from({ length: 300 }, (_, i) => {
      return Number(hashed(BigInt(i), a + BigInt(key[0]), b + BigInt(key[1])) >> 8n) / 2 ** 24;
    });
    expect(Array.from(draw(run, key, 300, 'uniform', steps))).toEqual(expected);
  });

  it('of neighbouring counters, and of keys that differ by a bit, differs in half of its bits', () => {
    const count = 4096;
    const all = (key: Key) => draw(9, key, count).map((x) => x * 2 ** 24);
    const base = all([0x12345678, 0x9abcdef0]);
    for (let bit = 0; bit < 32; bit++)
      for (const other of [
        all([(0x12345678 ^ (1 << bit)) >>> 0, 0x9abcdef0]),
        all([0x12345678, (0x9abcdef0 ^ (1 << bit)) >>> 0]),
      ])
        for (let out = 0; out < 24; out++) {
          const changed = base.reduce((sum, x, i) => sum + (((x ^ other[i]!) >> out) & 1), 0);
          // Of 1536 such counts the farthest lies five deviations off once in 1100 times.
          expect(Math.abs(changed - count / 2), `bit ${bit} to ${out}`).toBeLessThan(5 * Math.sqrt(count / 4));
        }
  });

  it('returns the same numbers in every version', () => {
    expect(Array.from(draw(0, [1, 2], 4), (x) => x * 2 ** 24)).toEqual([755016, 15888569, 3725997, 7146343]);
    expectClose(
      { dtype: 'float64', dims: [3], data: draw(7, [3, 4], 3, 'normal') },
      { dtype: 'float64', dims: [3], data: Float64Array.from([1.317608440782429, 1.5684838479716077, 1.3223950278374956]) },
    );
  });
});

const moments = (x: Float64Array) => {
  const mean = x.reduce((a, b) => a + b, 0) / x.length;
  const about = (p: number) => x.reduce((a, b) => a + (b - mean) ** p, 0) / x.length;
  return { mean, variance: about(2), skewness: about(3) / about(2) ** 1.5, kurtosis: about(4) / about(2) ** 2 };
};
const correlation = (a: Float64Array, b: Float64Array): number => {
  const [x, y] = [moments(a), moments(b)];
  return a.reduce((sum, v, i) => sum + (v - x.mean) * (b[i]! - y.mean), 0) / a.length / Math.sqrt(x.variance * y.variance);
};
// Largest distance between the distribution of a sample and a known one, in units of 1/√n.
function distance(x: Float64Array, below: (v: number) => number): number {
  const sorted = x.toSorted();
  const gaps = Array.from(sorted, (v, i) => Math.max(Math.abs(below(v) - i / x.length), Math.abs(below(v) - (i + 1) / x.length)));
  return Math.max(...gaps) * Math.sqrt(x.length);
}

// Bounds are four deviations of the statistic; the Kolmogorov distance of a true sample exceeds 2 once in 1500 times.
describe('statistics', () => {
  const n = 40_000;
  const sigma = 1 / Math.sqrt(n);
  const runs: readonly (readonly [number, Key])[] = [
    [0, [0, 0]],
    [1, [0, 0]],
    [2, [0, 0]],
    [0, [1, 0]],
    [0, [0, 1]],
    [12345, [0x9e3779b9, 0xbb67ae85]],
  ];

  it.each(runs)('run %s under %s is uniform', (run, key) => {
    const x = draw(run, key, n);
    expect(x.every((v) => v >= 0 && v < 1)).toBe(true);
    const { mean, variance, skewness } = moments(x);
    expect(Math.abs(mean - 1 / 2)).toBeLessThan(4 * sigma * Math.sqrt(1 / 12));
    expect(Math.abs(variance - 1 / 12)).toBeLessThan(4 * sigma * Math.sqrt(1 / 180));
    expect(Math.abs(skewness)).toBeLessThan(4 * sigma * Math.sqrt(6));
    expect(distance(x, (v) => v)).toBeLessThan(2);
    for (const lag of [1, 2, 64, 1024])
      expect(Math.abs(correlation(x.subarray(lag), x.subarray(0, n - lag))), `lag ${lag}`).toBeLessThan(4.2 * sigma);
  });

  it('the low bits are as good as the high ones', () => {
    const low = draw(5, [6, 7], n).map((v) => (v * 2 ** 16) % 1);
    expect(distance(low, (v) => v)).toBeLessThan(2);
    expect(Math.abs(correlation(low.subarray(1), low.subarray(0, n - 1)))).toBeLessThan(4.2 * sigma);
  });

  it('different runs and keys are independent', () => {
    const all = runs.map(([run, key]) => draw(run, key, n));
    all.forEach((a, i) => {
      all.slice(i + 1).forEach((b, j) => {
        expect(Math.abs(correlation(a, b)), `${i} and ${i + j + 1}`).toBeLessThan(4.2 * sigma);
      });
    });
  });

  it.each(runs)('run %s under %s is normal', (run, key) => {
    const x = draw(run, key, n, 'normal');
    const { mean, variance, skewness, kurtosis } = moments(x);
    expect(Math.abs(mean)).toBeLessThan(4 * sigma);
    expect(Math.abs(variance - 1)).toBeLessThan(4 * sigma * Math.sqrt(2));
    expect(Math.abs(skewness)).toBeLessThan(4 * sigma * Math.sqrt(6));
    expect(Math.abs(kurtosis - 3)).toBeLessThan(4 * sigma * Math.sqrt(24));
    expect(distance(x, (v) => normalBelow(v))).toBeLessThan(2);
    expect(Math.abs(correlation(x.subarray(1), x.subarray(0, n - 1)))).toBeLessThan(4.2 * sigma);
  });
});

// Φ by Simpson's rule.
function normalBelow(x: number): number {
  const steps = 200;
  const f = (t: number) => Math.exp((-t * t) / 2) / Math.sqrt(2 * Math.PI);
  let sum = f(0) + f(x);
  for (let i = 1; i < steps; i++) sum += f((x * i) / steps) * (i % 2 ? 4 : 2);
  return 0.5 + (sum * x) / steps / 3;
}
