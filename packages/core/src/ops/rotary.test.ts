import { describe, expect, test } from 'vitest';
import { interpret } from '../interpret/interpret';
import type { Value } from '../ir/graph';
import { checkOp } from '../testing';
import { array, feeder, randomArray } from '../testing/attention-calls';
import { type RotaryOptions, rotaryEmbedding } from './rotary';
import { cases } from './rotary.cases';
import { GraphBuilder } from './vocabulary';

test.each(cases.map((c) => [c.name, c] as const))('%s', (_, c) => checkOp(c));

test.each([false, true])('scores depend on distances only (interleaved: %s)', (interleaved) => {
  const g = new GraphBuilder({ dtype: 'float64' });
  const feed = feeder(g);
  const angles = Array.from({ length: 11 * 3 }, (_, i) => Math.floor(i / 3) * 0.7 ** (i % 3));
  const [cos, sin] = [Math.cos, Math.sin].map((f) => feed.input(array('float64', [11, 3], angles.map(f))));
  const at = (position: number) => feed.input(array('int64', [1, 1], [position]));
  const [q, k] = ['q', 'k'].map((name) => feed.input(randomArray(name, [1, 1, 1, 6], 'float64')));
  [
    [3, 0],
    [10, 7],
    [5, 2],
  ].forEach(([a, b], i) => {
    g.output(`q${i}`, rotaryEmbedding(q!, cos!, sin!, at(a!), { interleaved }));
    g.output(`k${i}`, rotaryEmbedding(k!, cos!, sin!, at(b!), { interleaved }));
  });
  const out = interpret(g.finish(), feed.feeds);
  const score = (i: number) => out[`q${i}`]!.data.reduce((sum, x, d) => sum + x * out[`k${i}`]!.data[d]!, 0);
  expect(score(1)).toBeCloseTo(score(0), 12);
  expect(score(2)).toBeCloseTo(score(0), 12);
  expect(out.q0!.data).not.toEqual(out.q1!.data);
});

describe('operands that do not fit', () => {
  function attempt(
    x: readonly (string | number)[],
    cache: readonly (string | number)[],
    positions?: readonly (string | number)[],
    o: RotaryOptions = {},
  ): () => Value {
    return () => {
      const g = new GraphBuilder();
      const [a, cos, sin] = [g.input('x', 'float32', x), g.input('cos', 'float32', cache), g.input('sin', 'float32', cache)];
      return rotaryEmbedding(a, cos, sin, positions && g.input('positions', 'int64', positions), o);
    };
  }
  const x = ['batch', 3, 'seq', 14];
  const at = ['batch', 'seq'];
  test.each<readonly [string, () => Value]>([
    ['x has neither 3 nor 4 axes', attempt(['batch', 14], [13, 7], at)],
    ['x of 3 axes needs num_heads', attempt(['batch', 'seq', 42], [13, 7], at)],
    ['42 is not a multiple of 5', attempt(['batch', 'seq', 42], [13, 7], at, { heads: 5 })],
    ['15 is not a multiple of 2', attempt(['batch', 3, 'seq', 15], [13, 7], at)],
    ['rotary_embedding_dim is larger than a head; expected at most 14, got 16', attempt(x, [13, 8], at, { rotaryDim: 16 })],
    ['cos does not fit; expected float32[positions, 7], got float32[13, 5]', attempt(x, [13, 5], at)],
    ['cos does not fit; expected float32[batch, seq, 7]', attempt(x, [13, 7])],
    ['the positions do not fit; expected int64[batch, seq], got int64[seq]', attempt(x, [13, 7], ['seq'])],
  ])('%s', (message, build) => {
    expect(build).toThrow(message);
    expect(build).toThrow('RotaryEmbedding');
  });
  test('a position outside of the caches is found when it runs', () => {
    const g = new GraphBuilder();
    const feed = feeder(g);
    const [cos, sin] = ['cos', 'sin'].map((name) => feed.input(randomArray(name, [5, 2])));
    g.output(
      'y',
      rotaryEmbedding(feed.input(randomArray('x', [1, 1, 1, 4])), cos!, sin!, feed.input(array('int64', [1, 1], [5]))),
    );
    expect(() => interpret(g.finish(), feed.feeds)).toThrow(
      'RotaryEmbedding: a position is outside of the caches; expected 0 to 4, got 5',
    );
  });
});
