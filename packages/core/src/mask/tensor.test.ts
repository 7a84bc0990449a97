import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Dim } from '../dim/dim';
import { interpret } from '../interpret/interpret';
import type { Value } from '../ir/graph';
import { broadcastTo } from '../ops/broadcast';
import { GraphBuilder } from '../ops/vocabulary';
import { type AttentionCall, attentionCall, feeder } from '../testing/attention-calls';
import { and, causal, type Mask, maskKinds, none, not, or, slidingWindow } from './index';
import { mayAttend } from './predicate';
import { maskTensor, queryHasKey, rowHasKey } from './tensor';

/** The mask as materialized, in every element of [batch, heads, seq, kv_seq], and whether some key is always there. */
function materialized(call: AttentionCall, named: readonly Dim[]) {
  const { batch, kvHeads, group, seq, kvSeq, queryOffset } = call;
  const g = new GraphBuilder();
  const feed = feeder(g);
  // An input that has every size.
  const sizes = {
    dtype: 'bool',
    dims: [batch, kvHeads * group, seq, kvSeq],
    data: new Float64Array(batch * kvHeads * group * seq * kvSeq),
  } as const;
  feed.input(sizes, named);
  const frame = {
    graph: g,
    batch: named[0]!,
    heads: named[1]!,
    seq: named[2]!,
    kvSeq: named[3]!,
    ...(queryOffset && { queryOffset: feed.input(queryOffset, [named[0]!]) }),
  };
  const mask = feed.mask(call.mask, named);
  const keep = maskTensor(mask, frame);
  if (!keep) return { keep: new Float64Array(sizes.data.length).fill(1), certain: true, some: undefined };
  const told = queryHasKey(mask, frame, keep);
  const certain = told === true;
  g.output('keep', keep);
  g.output('some', rowHasKey(keep));
  if (!certain) g.output('told', told);
  const out = interpret(g.finish(), feed.feeds);
  expect(keep.dtype).toBe('bool');
  const rows = [...sizes.dims.slice(0, 3), 1];
  if (out.told) expect(broadcastTo(out.told, rows).data).toEqual(broadcastTo(out.some!, rows).data);
  return {
    keep: broadcastTo(out.keep!, sizes.dims).data,
    certain,
    some: broadcastTo(out.some!, rows).data,
  };
}

test('a materialized mask is the predicate, at symbolic and at known sizes', () => {
  let alive = 0;
  let dead = 0;
  fc.assert(
    fc.property(attentionCall, fc.boolean(), (call, symbolic) => {
      const { batch, kvHeads, group, seq, kvSeq } = call;
      const heads = kvHeads * group;
      const packed = maskKinds(call.mask).includes('documents');
      const named = symbolic ? [packed ? 1 : 'batch', heads, 'seq', 'kv'] : [batch, heads, seq, kvSeq];
      const { keep, certain, some } = materialized(call, named);
      const allowed = mayAttend(call.mask, call, call.queryOffset);
      const rows: number[] = [];
      for (let b = 0; b < batch; b++)
        for (let h = 0; h < heads; h++)
          for (let i = 0; i < seq; i++) {
            const row = Array.from({ length: kvSeq }, (_, j) => (allowed(b, h, i, j) ? 1 : 0));
            expect(Array.from(keep.subarray(rows.length * kvSeq, (rows.length + 1) * kvSeq))).toEqual(row);
            rows.push(row.includes(1) ? 1 : 0);
          }
      if (some) expect(Array.from(some)).toEqual(rows);
      if (certain) expect(rows).not.toContain(0);
      if (rows.includes(0)) dead++;
      else alive++;
    }),
    { numRuns: 800 },
  );
  expect(Math.min(alive, dead)).toBeGreaterThan(100);
});

describe('no more than needed', () => {
  const frameOf = (seq: Dim, kvSeq: Dim) => {
    const g = new GraphBuilder();
    g.input('x', 'bool', [seq, kvSeq]);
    return { graph: g, batch: 1, heads: 1, seq, kvSeq };
  };
  const dims = (mask: Mask<Value>, seq: Dim, kvSeq: Dim) => maskTensor(mask, frameOf(seq, kvSeq))?.dims;

  test('a mask that allows everything needs no tensor', () => {
    expect(dims(none, 'seq', 'seq')).toBeUndefined();
    expect(dims(slidingWindow({}), 'seq', 'seq')).toBeUndefined();
    expect(dims(causal, 1, 'past + 1')).toBeUndefined();
    expect(dims(slidingWindow({ left: 6, right: 4 }), 5, 7)).toBeUndefined();
    expect(dims(or(causal, none as Mask<Value>), 'seq', 'seq')).toBeUndefined();
    expect(dims(not(not(none) as Mask<Value>), 'seq', 'seq')).toBeUndefined();
  });
  test('the narrowest window that still forbids something is one', () => {
    expect(dims(slidingWindow({ left: 5, right: 4 }), 5, 7)).toEqual([1, 1, 5, 7]);
    expect(dims(slidingWindow({ left: 6, right: 3 }), 5, 7)).toEqual([1, 1, 5, 7]);
  });
  test('nothing allowed', () => expect(dims(not(none), 'seq', 'seq')).toEqual([1, 1, 1, 1]));
  test('positions are compared for one sequence of the batch and one head', () =>
    expect(dims(causal, 'seq', 'kv')).toEqual([1, 1, 'seq', 'kv']));
  test('causal at the start of a cache needs no second comparison', () => {
    const frame = frameOf('seq', 11);
    const queryOffset = frame.graph.input('queryOffset', 'int64', ['batch']);
    frame.graph.output('keep', maskTensor(and(causal, slidingWindow({ left: 3 })), { ...frame, queryOffset })!);
    const comparisons = frame.graph
      .finish()
      .nodes.map((n) => n.op.key)
      .filter((k) => k.includes('Less') || k.includes('Greater'));
    expect(comparisons).toEqual(['LessOrEqual', 'GreaterOrEqual']);
  });
  test('there is known to be a key only if the sizes imply it', () => {
    const sure = (mask: Mask<Value>, seq: Dim, kvSeq: Dim) => {
      const frame = frameOf(seq, kvSeq);
      return queryHasKey(mask, frame, maskTensor(mask, frame)!) === true;
    };
    expect(sure(causal, 'seq', 'past + seq')).toBe(true);
    expect(sure(causal, 3, 5)).toBe(true);
    expect(sure(causal, 5, 3)).toBe(false);
    expect(sure(causal, 'seq', 'kv')).toBe(false);
    expect(sure(slidingWindow({ left: -1 }), 'seq', 'seq')).toBe(false);
    expect(sure(not(causal), 'seq', 'seq')).toBe(false);
  });
});
