import { describe, expect, it } from 'vitest';
import { log, normalProbability, normalQuantile } from './normal-distribution';

const relative = (got: number, expected: number) => Math.abs(got - expected) / Math.abs(expected || 1);

describe('normal distribution', () => {
  it('takes logarithms to the last digits', () => {
    for (let x = 1e-300; x < 1e300; x *= 1.37) expect(relative(log(x), Math.log(x))).toBeLessThan(4e-16);
    for (let x = 0.5; x < 2; x += 0.0007) expect(Math.abs(log(x) - Math.log(x))).toBeLessThan(2.3e-16);
    expect(log(1)).toBe(0);
  });

  it('agrees with probabilities computed with 40 digits', () => {
    const known: [number, number][] = [
      [-38, 2.88542835e-316],
      [-20, 2.7536241186062337e-89],
      [-10, 7.619853024160525e-24],
      [-5, 2.866515718791939e-7],
      [-3.0000001, 0.0013498975884453205],
      [-3, 0.0013498980316300946],
      [-2.9999999, 0.0013498984748150015],
      [-1, 0.15865525393145705],
      [-0.1, 0.460172162722971],
      [0, 0.5],
      [0.5, 0.6914624612740131],
      [2, 0.9772498680518208],
      [3.5, 0.9997673709209645],
      [6, 0.9999999990134123],
    ];
    for (const [x, p] of known) expect(relative(normalProbability(x), p)).toBeLessThan(x < -5 ? 1e-11 : 2e-13);
    expect([-40, Number.NEGATIVE_INFINITY, 40, Number.POSITIVE_INFINITY].map(normalProbability)).toEqual([0, 0, 1, 1]);
  });

  it('agrees with quantiles computed with 40 digits', () => {
    const known: [number, number][] = [
      [1e-300, -37.0470962993612],
      [1e-20, -9.262340089798409],
      [1e-10, -6.361340902404056],
      [0.001, -3.0902323061678136],
      [0.0749, -1.4402382675279637],
      [0.0751, -1.43882539275254],
      [0.25, -0.6744897501960817],
      [0.5, 0],
      [0.7, 0.5244005127080407],
      [0.95, 1.6448536269514724],
      [0.975, 1.959963984540054],
      [0.9999, 3.7190164854557084],
    ];
    for (const [p, x] of known) expect(relative(normalQuantile(p), x)).toBeLessThan(2e-15);
  });

  it('is odd around one half', () => {
    for (let k = 1; k < 512; k++) expect(normalQuantile(1 - k / 1024) + normalQuantile(k / 1024)).toBe(0);
  });
});
