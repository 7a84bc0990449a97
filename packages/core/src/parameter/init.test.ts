import { describe, expect, it } from 'vitest';
import {
  constant,
  distributionOf,
  fanIn,
  type Init,
  lecunNormal,
  normal,
  ones,
  scaledInit,
  truncatedNormal,
  uniform,
  unset,
  xavierNormal,
  xavierUniform,
  zeros,
} from './init';

type Plain = Parameters<typeof distributionOf>[0];
const distribution = (init: Init) =>
  distributionOf(init as Plain, () => [7, 11]) as unknown as Readonly<Record<string, number | string>>;

describe('initial values times a factor', () => {
  it.each([uniform(-1, 3), normal(2, 5), normal(2), truncatedNormal(2), xavierUniform(3), xavierNormal(), fanIn(), fanIn(5)])(
    '%o',
    (init) => {
      const [before, after] = [distribution(init), distribution(scaledInit(init, 0.3))];
      expect(Object.keys(after)).toEqual(Object.keys(before));
      for (const [key, value] of Object.entries(before)) {
        if (typeof value === 'number') expect(after[key]).toBeCloseTo(value * 0.3, 12);
      }
    },
  );

  it('LeCun: the deviation, not its bounds', () => {
    const [before, after] = [distribution(lecunNormal()), distribution(scaledInit(lecunNormal(), 0.3))];
    expect(after.std).toBeCloseTo(Number(before.std) * 0.3, 12);
    expect([after.low, after.high]).toEqual([-2, 2]);
  });

  it('rows: each part', () => {
    const rows: Init = {
      kind: 'rows',
      parts: [
        { rows: 2, init: normal(1) },
        { rows: 3, init: ones },
      ],
    };
    expect(scaledInit(rows, 0.5)).toEqual({
      kind: 'rows',
      parts: [
        { rows: 2, init: normal(0.5) },
        { rows: 3, init: ones },
      ],
    });
  });

  it.each([unset, zeros, ones, constant(3)])('%o stays what it is', (init) => {
    expect(scaledInit(init, 0.5)).toBe(init);
  });

  it('times 1 is the same object', () => {
    const init = normal(2);
    expect(scaledInit(init, 1)).toBe(init);
  });
});
