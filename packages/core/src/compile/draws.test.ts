import { describe, expect, it } from 'vitest';
import { ConfigError } from '../error';
import { interpret } from '../interpret/interpret';
import type { Value } from '../ir/graph';
import { dropout } from '../layers/dropout';
import { sub } from '../ops/elementwise';
import { GraphBuilder } from '../ops/vocabulary';
import { seededDraws } from './draws';

const numbers = (seed: number, run: number, f: (g: GraphBuilder) => Value): number[] => {
  const g = new GraphBuilder({ draws: seededDraws(seed), training: true });
  g.output('y', f(g));
  const feeds = { run: { dtype: 'int64', dims: [], data: Float64Array.of(run) } } as const;
  return Array.from(interpret(g.finish(), feeds).y!.data);
};
const plain = (g: GraphBuilder) => g.draw('noise', [13], 'uniform');

describe('seeded draws', () => {
  it('depend only on seed, run, index and name', () => {
    const first = numbers(1, 0, plain);
    const withAnother = (g: GraphBuilder) => {
      g.draw('another', [7], 'normal');
      return plain(g);
    };
    expect(numbers(1, 0, withAnother)).toEqual(first);
    expect(numbers(1, 0, (g) => g.scope('mixer', () => plain(g)))).not.toEqual(first);
    expect(numbers(1, 0, (g) => g.draw('other', [13], 'uniform'))).not.toEqual(first);
    expect(numbers(2, 0, plain)).not.toEqual(first);
    expect(numbers(1, 1, plain)).not.toEqual(first);
  });

  it('have the run as their only input, computed by the runner', () => {
    const g = new GraphBuilder({ draws: seededDraws(0) });
    plain(g);
    g.draw('more', [5], 'normal');
    expect(g.inputs.map((v) => v.leaf)).toMatchObject([{ kind: 'derived', name: 'run', how: 'run', from: [] }]);
  });

  it('of one name are different ones', () => {
    expect(numbers(1, 0, (g) => sub(plain(g), plain(g))).every((x) => x !== 0)).toBe(true);
  });

  it('drop as many elements as the probability of dropout says', () => {
    const rate = 0.3;
    const count = 20_000;
    const kept = numbers(3, 0, (g) =>
      dropout(g.constant({ dtype: 'float32', dims: [count], data: new Float32Array(count).fill(1) }), rate),
    );
    expect(new Set(kept)).toEqual(new Set([0, kept.find((x) => x > 0)!]));
    expect(Math.max(...kept)).toBeCloseTo(1 / (1 - rate), 6);
    const dropped = kept.filter((x) => x === 0).length / count;
    expect(Math.abs(dropped - rate)).toBeLessThan(4 * Math.sqrt((rate * (1 - rate)) / count));
  });

  it('refuse an invalid seed', () => {
    for (const seed of [-1, 0.5, Number.NaN, 2 ** 53]) expect(() => seededDraws(seed)).toThrow(ConfigError);
  });
});
