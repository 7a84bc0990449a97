// Conditions on sizes in words: they hold for exactly the sizes for which the condition does.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { evaluateDim } from '../dim/dim';
import type { Value } from '../ir/graph';
import * as ops from './index';
import { knownFrom } from './known';
import { sizeCondition } from './size-condition';
import { GraphBuilder } from './vocabulary';

const graph = () => {
  const g = new GraphBuilder();
  g.input('x', 'float32', ['batch', 'seq', 5]);
  g.input('memory', 'float32', ['batch', 'memory_seq', 7]);
  const flag = g.input('flag', 'bool', []);
  return { g, flag };
};

describe('in words', () => {
  const { g, flag } = graph();
  const [seq, memory] = [ops.size(g, 'seq'), ops.size(g, 'memory_seq')];
  it.each([
    ['seq <= 32', 'seq > 32', ops.lessOrEqual(seq, 32)],
    ['seq > 32', 'seq <= 32', ops.logicalNot(ops.lessOrEqual(seq, 32))],
    ['min(seq, memory_seq) < 3', 'min(seq, memory_seq) >= 3', ops.less(ops.min(seq, memory), 3)],
    ['seq >= memory_seq', 'seq < memory_seq', ops.greaterOrEqual(seq, memory)],
    ['seq = 1 and memory_seq > 2', 'seq ≠ 1 or memory_seq <= 2', ops.logicalAnd(ops.equal(seq, 1), ops.greater(memory, 2))],
    [
      'seq = 1 or (memory_seq > 2 and seq < 9)',
      'seq ≠ 1 and (memory_seq <= 2 or seq >= 9)',
      ops.logicalOr(ops.equal(seq, 1), ops.logicalAnd(ops.greater(memory, 2), ops.less(seq, 9))),
    ],
  ])('%s', (holds, fails, condition) => {
    expect(sizeCondition(condition)).toEqual({ holds, fails });
  });

  it('is undefined for a condition that depends on data, even partly', () => {
    expect(sizeCondition(flag)).toBeUndefined();
    expect(sizeCondition(ops.logicalAnd(flag, ops.less(seq, 3)))).toBeUndefined();
    expect(sizeCondition(ops.less(ops.cast(seq, 'float32'), 3.5))).toBeUndefined();
  });
});

it('is true exactly for the sizes for which the condition is', () => {
  type Made = (g: GraphBuilder) => Value;
  const leaf: fc.Arbitrary<Made> = fc.oneof(
    fc.constantFrom('seq', 'memory_seq', 'seq + memory_seq', '2*seq + 1').map(
      (d): Made =>
        (g) =>
          ops.size(g, d),
    ),
    fc.integer({ min: 0, max: 9 }).map(
      (n): Made =>
        (g) =>
          g.number(n, 'int64'),
    ),
  );
  const pair = (f: (a: Value, b: Value) => Value, of: fc.Arbitrary<Made>) =>
    fc.tuple(of, of).map(
      ([a, b]): Made =>
        (g) =>
          f(a(g), b(g)),
    );
  const number = fc.oneof(leaf, ...[ops.add, ops.sub, ops.mul].map((f) => pair(f, leaf)));
  const extreme = fc.oneof(number, pair(ops.min, number), pair(ops.max, number));
  const comparison = fc.oneof(
    ...[ops.less, ops.lessOrEqual, ops.greater, ops.greaterOrEqual, ops.equal].map((f) => pair(f, extreme)),
  );
  const { condition } = fc.letrec<{ condition: Made }>((tie) => ({
    condition: fc.oneof(
      { maxDepth: 2 },
      comparison,
      tie('condition').map(
        (made): Made =>
          (g) =>
            ops.logicalNot(made(g)),
      ),
      pair(ops.logicalAnd, tie('condition')),
      pair(ops.logicalOr, tie('condition')),
    ),
  }));
  const truth = (text: string, sizes: Readonly<Record<string, number>>): boolean => {
    const code = text
      .replaceAll(/\b(min|max)\(/g, 'Math.$1(')
      .replaceAll(' = ', ' === ')
      .replaceAll('≠', '!==')
      .replaceAll(' and ', ' && ')
      .replaceAll(' or ', ' || ');
    return new Function(...Object.keys(sizes), `return ${code}`)(...Object.values(sizes)) as boolean;
  };
  let said = 0;
  fc.assert(
    fc.property(condition, fc.integer({ min: 0, max: 9 }), fc.integer({ min: 0, max: 9 }), (made, seq, memory_seq) => {
      const value = made(graph().g);
      const text = sizeCondition(value);
      if (!text) return;
      said++;
      const sizes = { batch: 2, seq, memory_seq };
      const known = knownFrom(value, { of: (d) => evaluateDim(d, sizes) })!.data[0] === 1;
      expect([truth(text.holds, sizes), truth(text.fails, sizes)], text.holds).toEqual([known, !known]);
    }),
    { numRuns: 300 },
  );
  expect(said).toBeGreaterThan(250);
});
