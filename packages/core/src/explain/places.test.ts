import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isBelow, printPaths, printRanges, shapeOf } from './places';

describe('ranges', () => {
  it.each([
    [[], ''],
    [[4], '4'],
    [[4, 5], '4, 5'],
    [[3, 1, 2], '1–3'],
    [[0, 1, 2, 7, 9, 10, 11], '0–2, 7, 9–11'],
  ] as const)('of %j', (numbers, text) => expect(printRanges(numbers)).toBe(text));
  it('name every number once', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(30)), (numbers) => {
        const named = printRanges(numbers)
          .split(', ')
          .filter(Boolean)
          .flatMap((run) => {
            const [from, to = from] = run.split('–').map(Number) as [number, number?];
            return Array.from({ length: to! - from + 1 }, (_, i) => from + i);
          });
        expect(named).toEqual([...new Set(numbers)].sort((a, b) => a - b));
      }),
    );
  });
});

describe('paths', () => {
  it.each([
    [['norm'], 'norm'],
    [['layers.0.mixer', 'layers.1.mixer', 'layers.2.mixer'], 'layers.0–2.mixer'],
    [['a.0.b.0', 'a.0.b.1', 'a.1.b.0', 'a.1.b.1'], 'a.0, 1.b.0, 1'],
    [['a.0.b.0', 'a.1.b.1'], 'a.0.b.0, a.1.b.1'],
    [['layers.3', 'layers.3'], 'layers.3'],
    [[''], ''],
  ])('%j', (paths, text) => expect(printPaths(paths)).toBe(text));
  it('have one shape if they differ only in layer numbers', () => {
    expect(shapeOf('encoder.layers.12.mixer.q_proj2')).toBe('encoder.layers.#.mixer.q_proj2');
    expect(shapeOf('0.1')).toBe('#.#');
  });
});

describe('a place', () => {
  const layers = (numbers: readonly number[]) => numbers.map((n) => `stack.layers.${n}.mixer`);
  it('can be a printed text, and contains exactly its paths', () => {
    const numbers = fc.uniqueArray(fc.nat(30), { minLength: 1 });
    fc.assert(
      fc.property(numbers, fc.nat(30), (some, other) => {
        const below = isBelow(printPaths(layers(some)));
        expect(layers(some).every(below)).toBe(true);
        expect(below(layers([other])[0]!)).toBe(some.includes(other));
      }),
    );
  });
  it.each([
    ['layers.1', 'layers.1.norm', true],
    ['layers.1', 'layers.11', false],
    ['layers.0-2.norm', 'layers.1.norm', true],
    ['layers.0–2.norm', 'layers.1.mixer', false],
    ['a.0.b.0, a.1.b.1', 'a.1.b.1.c', true],
    ['a.0.b.0, a.1.b.1', 'a.0.b.1', false],
    ['shared', 'shared@2.norm', true],
    ['shared@2', 'shared@3', false],
    ['model', 'anything', true],
    ['', 'anything', true],
  ])('%j has %j below it: %s', (place, path, expected) => expect(isBelow(place)(path)).toBe(expected));
});
