import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { holds } from '../packages/core/src/lower/size-limit';
import { generalised } from './probe/limits';

const tried = (values: readonly number[], works: (n: number) => boolean) => values.map((n) => [n, works(n)] as const);
const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1);

describe('a limit from the values that were tried', () => {
  it.each([
    ['all', (_: number) => true, undefined],
    ['none', (_: number) => false, 'none'],
    ['multiples of 8', (n: number) => n % 8 === 0, { multipleOf: 8 }],
    ['multiples of 8 up to 32', (n: number) => n % 8 === 0 && n <= 32, { multipleOf: 8, max: 32 }],
    ['2 and 3', (n: number) => n === 2 || n === 3, { min: 2, max: 3 }],
    ['powers of two', (n: number) => Number.isInteger(Math.log2(n)), { powerOfTwo: true }],
  ])('%s', (_, works, limit) => expect(generalised(tried(upTo(64), works))).toEqual(limit));

  it('admits no value that was tried and does not work', () => {
    const values = fc.uniqueArray(fc.integer({ min: 1, max: 99 }), { minLength: 1 });
    fc.assert(
      fc.property(values, fc.func(fc.boolean()), (all, works) => {
        const outcomes = tried(all, works);
        const limit = generalised(outcomes);
        for (const [n, ok] of outcomes) {
          if (limit === undefined) expect(ok).toBe(true);
          else if (limit !== 'none' && holds(limit, n)) expect(ok).toBe(true);
        }
      }),
    );
  });
});
