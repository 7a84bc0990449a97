import { expect, it } from 'vitest';
import { countOf } from './tensor';

it('counts no elements where one of the sizes is 0, however large the others are', () => {
  expect(countOf([2, 3, 5])).toBe(30);
  expect(countOf([])).toBe(1);
  expect(countOf([1e200, 1e200, 0])).toBe(0);
});
