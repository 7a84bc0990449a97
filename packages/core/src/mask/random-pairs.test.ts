import { describe, expect, it } from 'vitest';
import { tensor } from '../tensor/convert';
import { materialize, randomPairs } from './index';
import { spreadOf } from './random-pairs';

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

describe('random pairs that rows of queries share', () => {
  const rowsOf = (density: number, seed: number, seq: number, shared: number): boolean[][] => {
    const { data } = materialize(randomPairs(density, seed, shared), { seq, kvSeq: seq });
    return Array.from({ length: seq }, (_, i) => Array.from({ length: seq }, (__, j) => data[i * seq + j] !== 0));
  };

  it.each([
    [0.01, 1, 100],
    [0.4, 2, 5],
    [0.7, 7, 10],
    [0.015, 3, 200],
    [1 / 3, 1, 3],
    [0.95, 19, 20],
  ])('%d is %d of %d keys', (density, keys, stretch) => expect(spreadOf(density)).toEqual({ keys, stretch }));

  it('are the same for the queries of a row, and so many in each stretch', () => {
    const rows = rowsOf(0.3, 5, 91, 7);
    for (const [i, row] of rows.entries()) {
      expect(row).toEqual(rows[i - (i % 7)]);
      for (let start = 0; start + 10 <= 91; start += 10) expect(row.slice(start, start + 10).filter(Boolean)).toHaveLength(3);
    }
    expect(new Set(rows.map(String)).size).toBe(13);
  });

  it('are as probable at each distance from the beginning of a stretch', () => {
    const [n, density] = [800, 3 / 11];
    const rows = rowsOf(density, 9, n, 1);
    for (let place = 0; place < 11; place++) {
      const flags = rows.flatMap((row) => row.filter((_, j) => j % 11 === place));
      // Five standard deviations of a mean of independent flags; keys of one stretch exclude each other, which makes it smaller.
      expect(Math.abs(shareOf(flags) - density)).toBeLessThan(5 * Math.sqrt((density * (1 - density)) / flags.length));
    }
  });

  it('of a short sequence are the beginning of those of a long one', () => {
    const long = rowsOf(0.3, 3, 43, 4);
    expect(rowsOf(0.3, 3, 17, 4)).toEqual(long.slice(0, 17).map((row) => row.slice(0, 17)));
  });

  it('are those of a seed that is data, and of another seed others', () => {
    const seed = tensor('int64', [], [2 ** 40 + 5]);
    const { data } = materialize(randomPairs(0.3, seed, 3), { seq: 29, kvSeq: 29 });
    expect([...data]).toEqual([...materialize(randomPairs(0.3, 2 ** 40 + 5, 3), { seq: 29, kvSeq: 29 }).data]);
    expect([...data]).not.toEqual([...materialize(randomPairs(0.3, 5, 3), { seq: 29, kvSeq: 29 }).data]);
  });

  it('refuse a row without queries', () => expect(() => randomPairs(0.3, 1, 0)).toThrow(/an integer of at least 1/));
});
