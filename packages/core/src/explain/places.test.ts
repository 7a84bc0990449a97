import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { printPaths, printRanges, shapeOf } from './places';

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
  it('have one shape where they differ in layer numbers', () => {
    expect(shapeOf('encoder.layers.12.mixer.q_proj2')).toBe('encoder.layers.#.mixer.q_proj2');
    expect(shapeOf('0.1')).toBe('#.#');
  });
});
