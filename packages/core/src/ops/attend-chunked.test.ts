import fc from 'fast-check';
import { expect, test } from 'vitest';
import { interpret } from '../interpret/interpret';
import { maskKinds } from '../mask/index';
import { expectClose } from '../testing';
import { attentionCall, feeder, randomArray } from '../testing/attention-calls';
import { attendOp } from './attend';
import { attendInChunks } from './attend-chunked';
import { GraphBuilder } from './vocabulary';

test('chunks of queries agree with attention over all of them, for any mask', () => {
  const seen = new Set<string>();
  fc.assert(
    fc.property(
      attentionCall,
      fc.boolean(),
      fc.integer({ min: 1, max: 4 }),
      fc.record({ bias: fc.boolean(), perRow: fc.boolean(), sinks: fc.boolean(), softcap: fc.boolean() }),
      (call, open, rows, o) => {
        const { batch, kvHeads, group, seq, kvSeq, queryOffset } = call;
        // A chunk repeats the last query, so there must be one; and a reshape with an open size cannot tell how many empty rows there are.
        fc.pre(seq > 0);
        const symbolic = open && kvSeq > 0;
        const heads = kvHeads * group;
        const packed = maskKinds(call.mask).includes('documents');
        const named = symbolic ? [packed ? 1 : 'batch', heads, 'seq', 'kv'] : [batch, heads, seq, kvSeq];
        const g = new GraphBuilder({ dtype: 'float64' });
        const feed = feeder(g);
        const input = (name: string, dims: readonly number[], as: readonly (string | number)[]) =>
          feed.input(randomArray(name, dims, 'float64'), as);
        const q = input('q', [batch, heads, seq, 3], [named[0]!, heads, named[2]!, 3]);
        const k = input('k', [batch, kvHeads, kvSeq, 3], [named[0]!, kvHeads, named[3]!, 3]);
        const v = input('v', [batch, kvHeads, kvSeq, 2], [named[0]!, kvHeads, named[3]!, 2]);
        const options = {
          mask: feed.mask(call.mask, named),
          ...(queryOffset && { queryOffset: feed.input(queryOffset, [named[0]!]) }),
          ...(o.bias && {
            bias: input('bias', [o.perRow ? batch : 1, 1, seq, kvSeq], [o.perRow ? named[0]! : 1, 1, named[2]!, named[3]!]),
          }),
          ...(o.sinks && { sinks: input('sinks', [heads], [heads]) }),
          ...(o.softcap && { softcap: 1.5 }),
          scale: 0.7,
        };
        g.output('whole', attendOp(q, k, v, options));
        g.output('chunked', attendInChunks(q, k, v, { ...options, rows }));
        const { whole, chunked } = interpret(g.finish(), feed.feeds);
        expectClose(chunked!, whole!, { atol: 1e-12, rtol: 1e-12 });
        for (const kind of maskKinds(call.mask)) seen.add(kind);
      },
    ),
    { numRuns: 500 },
  );
  expect(seen.size).toBeGreaterThan(10);
});
