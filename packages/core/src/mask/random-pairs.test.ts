import { describe, expect, it } from 'vitest';
import { tensor } from '../tensor/convert';
import { materialize, randomPairs } from './index';

const pairsOf = (density: number, seed: number, seq: number, kvSeq = seq): boolean[][] => {
  const { data } = materialize(randomPairs(density, seed), { seq, kvSeq });
  return Array.from({ length: seq }, (_, i) => Array.from({ length: kvSeq }, (_, j) => data[i * kvSeq + j] !== 0));
};
const shareOf = (flags: readonly boolean[]): number => flags.filter(Boolean).length / flags.length;

describe('random pairs', () => {
  const n = 401;
  // The standard deviation of the mean of m flags of probability p is √(p (1 − p) / m); five of them are exceeded once in a million times.
  const within = (p: number, m: number): number => 5 * Math.sqrt((p * (1 - p)) / m);

  it.each([0.01, 0.3, 0.9])('are as many as the density says, and independent: %d', (density) => {
    const pairs = pairsOf(density, 7, n);
    expect(Math.abs(shareOf(pairs.flat()) - density)).toBeLessThan(within(density, n * n));
    for (const other of [
      (i: number, j: number) => pairs[i]![(j + 1) % n]!,
      (i: number, j: number) => pairs[(i + 1) % n]![j]!,
      (i: number, j: number) => pairs[j]![i]!,
    ]) {
      const both = pairs.flatMap((row, i) => row.flatMap((flag, j) => (i === j ? [] : [flag && other(i, j)])));
      // Each pair and its mirror image are counted twice.
      expect(Math.abs(shareOf(both) - density ** 2)).toBeLessThan(2 * within(density ** 2, n * n));
    }
    for (const i of [0, 1, 200]) {
      expect(Math.abs(shareOf(pairs[i]!) - density)).toBeLessThan(within(density, n));
      expect(Math.abs(shareOf(pairs.map((row) => row[i]!)) - density)).toBeLessThan(within(density, n));
    }
  });

  it('differ by their seed, also in its high bits', () => {
    const [a, b, c] = [1, 2, 1 + 2 ** 40].map((seed) => pairsOf(0.5, seed, 61).flat()) as [boolean[], boolean[], boolean[]];
    for (const other of [b, c]) {
      const equal = shareOf(a.map((flag, i) => flag === other[i]));
      expect(Math.abs(equal - 0.5)).toBeLessThan(within(0.5, 61 * 61));
    }
  });

  it('of a short sequence are the beginning of those of a long one', () => {
    const long = pairsOf(0.4, 3, 23);
    expect(pairsOf(0.4, 3, 7)).toEqual(long.slice(0, 7).map((row) => row.slice(0, 7)));
    // The last queries, with keys before them.
    expect(pairsOf(0.4, 3, 5, 23)).toEqual(long.slice(-5));
  });

  it('are those of a seed that is data', () => {
    const seed = tensor('int64', [], [2 ** 40 + 5]);
    const { data } = materialize(randomPairs(0.4, seed), { seq: 5, kvSeq: 7 });
    expect([...data]).toEqual([...materialize(randomPairs(0.4, 2 ** 40 + 5), { seq: 5, kvSeq: 7 }).data]);
  });

  it('refuse a density that is none', () => expect(() => randomPairs(0, 1)).toThrow('wrong density; expected a number above 0'));

  it('are all pairs at a density of 1', () => expect(pairsOf(1, 3, 5).flat()).not.toContain(false));
});
