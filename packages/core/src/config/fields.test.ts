// What each field accepts, at the edges of its range and of its type.
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { accepts, bool, choice, type Field, fn, int, list, num, text } from './fields';

const doc = 'an option';
const odd: readonly unknown[] = [undefined, null, Number.NaN, {}, [], [1], true, '1', 1n, () => 1, new Date()];

const cases: readonly (readonly [name: string, field: Field, right: readonly unknown[], wrong: readonly unknown[]])[] = [
  ['int', int({ doc }), [0, -0, 7, Number.MAX_SAFE_INTEGER], [0.5, 2 ** 53, Number.POSITIVE_INFINITY]],
  ['int with bounds', int({ doc, min: -2, max: 5 }), [-2, 0, 5], [-3, 6, 1.5]],
  ['int from 0', int({ doc, min: 0 }), [0, 11], [-1]],
  ['num', num({ doc }), [0, 0.5, -1e38, 2e-38], [1e39, -1e300, 1e-300, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]],
  ['num above a bound', num({ doc, above: 0 }), [2e-38, 0.5], [0, -0, -1]],
  ['num above one bound, up to another', num({ doc, above: 0, max: 2 }), [0.5, 2], [0, 2.5]],
  ['num with bounds', num({ doc, min: 0.25, max: 0.5 }), [0.25, 0.3, 0.5], [0.2, 0.51]],
];

it.each(cases)('%s', (_, field, right, wrong) => {
  for (const value of right) expect(accepts(field, value), String(value)).toBe(true);
  for (const value of [...wrong, ...odd]) expect(accepts(field, value), String(value)).toBe(false);
});

it.each<readonly [name: string, field: Field, test: (value: unknown) => boolean]>([
  ['bool', bool({ doc }), (x) => x === true || x === false],
  ['text', text({ doc }), (x) => typeof x === 'string'],
  ['choice', choice(['a', '1'], { doc }), (x) => x === 'a' || x === '1'],
  ['fn', fn<() => number>()({ doc }), (x) => typeof x === 'function'],
])('%s accepts what it says and nothing else', (_, field, test) => {
  for (const value of [...odd, 'a', '', false]) expect(accepts(field, value), String(value)).toBe(test(value));
  fc.assert(fc.property(fc.anything(), (value) => accepts(field, value) === test(value)));
});

it('list checks its length and every item', () => {
  const two = list(int({ doc, min: 1 }), { doc, length: 2 });
  const any = list(int({ doc, min: 1 }), { doc });
  const isCount = (n: unknown) => Number.isSafeInteger(n) && (n as number) >= 1;
  const item = fc.oneof(fc.integer({ min: -1, max: 3 }), fc.anything());
  fc.assert(
    fc.property(fc.array(item, { maxLength: 4 }), (items) => {
      expect(accepts(any, items)).toBe(items.every(isCount));
      expect(accepts(two, items)).toBe(items.length === 2 && items.every(isCount));
    }),
  );
  expect(accepts(any, { length: 0 })).toBe(false);
  expect(accepts(any, '')).toBe(false);
});
