import { describe, expect, it } from 'vitest';
import { ConfigError } from '../error';
import { philox, randomStream } from './random';

const draw = (seed: number, path: string, count: number) => {
  const out = new Float64Array(count);
  randomStream(seed, path).uniform(out);
  return out;
};
const mean = (x: ArrayLike<number>) => Array.from(x).reduce((a, b) => a + b, 0) / x.length;

describe('philox', () => {
  it("reproduces the authors' known answers", () => {
    const answers: [number[], [number, number], number[]][] = [
      [
        [0, 0, 0, 0],
        [0, 0],
        [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
      ],
      [
        [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
        [0xffffffff, 0xffffffff],
        [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
      ],
      [
        [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
        [0xa4093822, 0x299f31d0],
        [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
      ],
    ];
    for (const [counter, key, expected] of answers) {
      const words = Uint32Array.from(counter);
      philox(words, ...key);
      expect([...words]).toEqual(expected);
    }
  });
});

describe('randomStream', () => {
  it('is the same for ever', () => {
    expect([...draw(42, 'layers.0.mixer.q_proj.weight', 5)]).toEqual([
      0.223040918666218, 0.25793418180550287, 0.09940736797957206, 0.4451245957076012, 0.18026802253598884,
    ]);
    expect([...draw(0, '', 2)]).toEqual([0.8307482282046276, 0.019077009777318854]);
    expect([...draw(2 ** 53 - 1, 'é', 2)]).toEqual([0.07304972314414859, 0.3195591638603753]);
  });

  it('continues where it stopped, for pieces of any size', () => {
    const whole = draw(3, 'a', 31);
    const stream = randomStream(3, 'a');
    const parts = [1, 2, 7, 0, 1, 4, 16].map((n) => {
      const part = new Float64Array(n);
      stream.uniform(part);
      return [...part];
    });
    expect(parts.flat()).toEqual([...whole]);
  });

  it('differs by seed and by path, in the last character as in the first', () => {
    const firsts = [
      [0, 'a'],
      [1, 'a'],
      [2 ** 32, 'a'],
      [0, 'b'],
      [0, ''],
      [0, 'aa'],
      [0, 'a\0'],
      [0, 'a.b.c.d'],
      [0, 'a.b.c.e'],
      [0, 'b.b.c.d'],
    ].map(([seed, path]) => draw(seed as number, path as string, 1)[0]);
    expect(new Set(firsts).size).toBe(firsts.length);
  });

  it('is uniform and without correlation, also between neighbouring streams', () => {
    const n = 100_000;
    const [a, b] = [draw(7, 'layers.0.w', n), draw(7, 'layers.1.w', n)];
    const deviation = Math.sqrt(1 / 12 / n);
    for (const x of [a, b]) {
      expect(Math.abs(mean(x) - 0.5)).toBeLessThan(4 * deviation);
      expect(Math.abs(mean(x.map((u) => (u - 0.5) ** 2)) - 1 / 12)).toBeLessThan(4 * Math.sqrt(1 / 180 / n));
      const sorted = x.toSorted();
      const ks = Math.max(...sorted.map((u, i) => Math.abs(u - (i + 0.5) / n)));
      expect(ks * Math.sqrt(n)).toBeLessThan(1.63);
      expect(sorted[0]).toBeGreaterThan(0);
      expect(sorted.at(-1)).toBeLessThan(1);
    }
    const product = (x: Float64Array, y: Float64Array, lag: number) =>
      mean(x.subarray(0, n - lag).map((u, i) => (u - 0.5) * (y[i + lag]! - 0.5))) * 12;
    for (const r of [product(a, b, 0), product(a, a, 1), product(a, a, 2), product(b, b, 3)]) {
      expect(Math.abs(r)).toBeLessThan(4 / Math.sqrt(n));
    }
  });

  it('refuses an invalid seed', () => {
    for (const seed of [-1, 0.5, Number.NaN, 2 ** 53]) expect(() => randomStream(seed, 'a')).toThrow(ConfigError);
    expect(() => randomStream(-1, 'a')).toThrow('seed: not a seed; expected an integer from 0 to 2^53 - 1, got -1');
  });
});
