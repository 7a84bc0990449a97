import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { evaluateDim } from '../dim/dim';
import type { Value } from '../ir/graph';
import { and, causal, type Mask, none, slidingWindow } from '../mask/index';
import { pairsWithin } from '../ops/attend-flops';
import * as ops from '../ops/index';
import { GraphBuilder } from '../ops/vocabulary';
import { flopsOf } from './flops';

const sizes = { batch: 2, seq: 7, kv: 11 };
function total(build: (g: GraphBuilder) => Value | readonly Value[]): number {
  const g = new GraphBuilder();
  [build(g)].flat().forEach((v, i) => {
    g.output(`y${i}`, v as Value);
  });
  return g.finish().nodes.reduce((n, node) => n + flopsOf(node, (d) => evaluateDim(d, sizes)), 0);
}
const rows = (g: GraphBuilder, ...dims: (number | string)[]): Value => g.input(`x${dims.join()}`, 'float32', dims);

describe('operations', () => {
  it.each<readonly [string, (g: GraphBuilder) => Value, number]>([
    ['a product', (g) => ops.matmul(rows(g, 'batch', 'seq', 5), rows(g, 5, 3)), 2 * 2 * 7 * 5 * 3],
    ['a linear map', (g) => ops.linear(rows(g, 'seq', 5), rows(g, 3, 5)), 7 * 3 * 10],
    ['with its bias', (g) => ops.linear(rows(g, 'seq', 5), rows(g, 3, 5), rows(g, 3)), 7 * 3 * 11],
    ['an elementwise op', (g) => ops.add(rows(g, 'seq', 5), rows(g, 5)), 35],
    ['a movement', (g) => ops.transpose(ops.reshape(rows(g, 'seq', 6), ['seq', 2, 3]), [1, 0, 2]), 0],
    ['an einsum', (g) => ops.einsum('bij,kj->bik', rows(g, 'batch', 'seq', 5), rows(g, 3, 5)), 2 * 2 * 7 * 5 * 3],
    [
      'an einsum with an ellipsis',
      (g) => ops.einsum('...ij,...kj->...ik', rows(g, 13, 'seq', 5), rows(g, 13, 3, 5)),
      2 * 13 * 7 * 5 * 3,
    ],
    ['a sum by einsum', (g) => ops.einsum('ij->i', rows(g, 'seq', 5)), 35],
    [
      'a convolution',
      (g) => ops.conv(rows(g, 'batch', 4, 9), rows(g, 6, 2, 3), undefined, { group: 2 }),
      2 * (2 * 6 * 7) * (2 * 3),
    ],
  ])('of %s', (_, build, expected) => expect(total(build)).toBe(expected));

  const attention = (mask: Mask<Value>) => (g: GraphBuilder) =>
    ops.attendOp(rows(g, 'batch', 6, 'seq', 8), rows(g, 'batch', 2, 'kv', 8), rows(g, 'batch', 2, 'kv', 5), { mask });
  it('of attention are those of the pairs that positions allow', () => {
    expect(total(attention(none))).toBe(2 * 2 * 6 * 77 * 13);
    expect(total(attention(causal))).toBe(2 * 2 * 6 * (5 + 6 + 7 + 8 + 9 + 10 + 11) * 13);
    expect(total(attention(and(causal, slidingWindow({ left: 2 }))))).toBe(2 * 2 * 6 * 21 * 13);
  });
  it('of a low-rank update are those of its product and its sum', () => {
    const update = (g: GraphBuilder) => ops.lowRankUpdate(rows(g, 64, 61), rows(g, 64, 8), rows(g, 8, 61), 2);
    expect(total(update)).toBe(64 * 61 * (2 * 8 + 1 + 1));
  });
  it('of a loop are those of all its steps, of a branch those of the dearer', () => {
    const looped = (g: GraphBuilder): Value => {
      const x = rows(g, 'seq', 5);
      return ops.loop(g, {
        trips: g.input('trips', 'int64', []),
        count: 'kv',
        carried: [x],
        body: (_, v) => ({ carried: [ops.mul(v!, x)] }),
      }).carried[0]!;
    };
    expect(total(looped)).toBe(11 * 35);
    const branched = (g: GraphBuilder): Value => {
      const x = rows(g, 'seq', 5);
      return ops.cond(
        g.input('c', 'bool', []),
        () => [ops.mul(ops.add(x, 1), 2)],
        () => [ops.sub(x, 1)],
      )[0]!;
    };
    expect(total(branched)).toBe(70);
  });
  it.each([
    [7, 35],
    [8, 70],
  ])('of a branch on sizes are those of the branch that is taken: seq %i or more', (least, expected) => {
    const branched = (g: GraphBuilder): Value => {
      const x = rows(g, 'seq', 5);
      return ops.cond(
        ops.greaterOrEqual(ops.size(g, 'seq'), least),
        () => [ops.sub(x, 1)],
        () => [ops.mul(ops.add(x, 1), 2)],
      )[0]!;
    };
    expect(total(branched)).toBe(expected);
  });
  it('of arithmetic on integers are none', () => {
    expect(total((g) => ops.mul(g.input('i', 'int64', ['seq', 5]), 3))).toBe(0);
  });
});

it('pairs within a window', () => {
  const bound = fc.option(fc.nat(9), { nil: undefined });
  fc.assert(
    fc.property(fc.nat(9), fc.nat(9), bound, bound, (seq, more, left, right) => {
      const kvSeq = seq + more;
      let pairs = 0;
      for (let i = 0; i < seq; i++)
        for (let j = 0; j < kvSeq; j++) if (more + i - j <= (left ?? 99) && j - more - i <= (right ?? 99)) pairs++;
      expect(pairsWithin(seq, kvSeq, left, right)).toBe(pairs);
    }),
  );
});
