import { describe, expect, test } from 'vitest';
import { tensor } from '../tensor/convert';
import { compare, expectClose, printComparison } from './close';

const f = (values: readonly number[], dims: readonly number[] = [values.length]) => tensor('float64', dims, values);
const { NaN: nan, POSITIVE_INFINITY: inf } = Number;

describe('compare', () => {
  test('finds the worst element, not the last or the largest', () => {
    const result = compare(f([1, 2, 1000.5, 4, 5.2, 6], [2, 3]), f([1, 2, 1000, 4, 5, 6], [2, 3]), { atol: 0.01, rtol: 0.001 });
    expect(result).toMatchObject({ close: false, failures: 1, count: 6, index: [1, 1], actual: 5.2, expected: 5 });
    expect(result.error).toBeCloseTo(0.2);
    expect(result.budget).toBeCloseTo(0.015);
    expect(printComparison(result)).toMatch(
      /^1 of 6 elements differ too much; worst at \[1, 1\]: expected 5, got 5\.2, off by 0\.2/,
    );
  });

  test.each([
    ['an error just over the budget', [1.0011], [1], { atol: 0, rtol: 1e-3 }],
    ['the expected value, not the actual one, sets the budget', [1000], [0], { atol: 0, rtol: 1 }],
    ['any difference where nothing is allowed', [Number.MIN_VALUE], [0], { atol: 0, rtol: 0 }],
    ['NaN', [nan], [nan], {}],
    ['NaN against a number', [nan], [0], { equalNaN: true, atol: inf }],
    ['a number against NaN', [0], [nan], { equalNaN: true }],
    ['an infinity of the other sign', [-inf], [inf], {}],
    ['an infinity against a number', [inf], [1e300], { rtol: 1 }],
    ['a number against an infinity', [1e300], [inf], { rtol: 1 }],
  ])('fails on %s', (_, actual, expected, tolerance) => {
    const result = compare(f([5, ...actual]), f([5, ...expected]), tolerance);
    expect(result).toMatchObject({ close: false, failures: 1, index: [1] });
    expect(() => expectClose(f(actual), f(expected), tolerance, 'rows')).toThrow(/^rows are not close: 1 of 1/);
  });

  test.each([
    ['within the budget', [1.0009], [1], { atol: 0, rtol: 1e-3 }],
    ['NaN where allowed', [nan], [nan], { equalNaN: true }],
    ['infinities', [inf, -inf], [inf, -inf], { atol: 0, rtol: 0 }],
    ['zeros of both signs', [-0], [0], { atol: 0, rtol: 0 }],
    ['nothing', [], [], {}],
  ])('passes: %s', (_, actual, expected, tolerance) => {
    expect(compare(f(actual), f(expected), tolerance).close).toBe(true);
    expectClose(f(actual), f(expected), tolerance);
  });

  test('compares dims and dtypes', () => {
    expect(compare(f([1, 2], [2, 1]), f([1, 2], [1, 2])).problem).toBe('expected float64[1, 2], got float64[2, 1]');
    expect(compare(f([1]), tensor('int64', [1], [1])).close).toBe(false);
    expect(() => expectClose(f([1]), tensor('int64', [1], [1]))).toThrow('expected int64[1], got float64[1]');
  });

  test('decodes tensors', () => {
    expect(compare(tensor('float16', [2], [1, 2]), tensor('float16', [2], [1, 2.5])).error).toBe(0.5);
    expect(compare(tensor('int64', [2], [1n, 2n]), tensor('int64', [2], [1n, 2n])).close).toBe(true);
  });
});
