import fc from 'fast-check';
import { expect, test } from 'vitest';
import { interpret } from '../interpret/interpret';
import {
  and,
  causal,
  causalFromTopLeft,
  dilated,
  documents,
  keyLengths,
  keyStarts,
  type Mask,
  maskKinds,
  none,
  not,
  or,
  prefix,
  slidingWindow,
  slidingWindowFromTopLeft,
} from '../mask/index';
import type { NDArray } from '../tensor/tensor';
import { expectClose } from '../testing';
import { array, attentionCall, feeder, randomArray } from '../testing/attention-calls';
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
        g.output('chunked', attendInChunks(q, k, v, { ...options, rows, keysName: 'keys_of_chunk' }));
        const { whole, chunked } = interpret(g.finish(), feed.feeds);
        expectClose(chunked!, whole!, { atol: 1e-12, rtol: 1e-12 });
        for (const kind of maskKinds(call.mask)) seen.add(kind);
      },
    ),
    { numRuns: 500 },
  );
  expect(seen.size).toBeGreaterThan(10);
});

/** The keys that each chunk of 5 queries attends to, of 23 queries and 29 keys. */
function keysOfChunks(mask: Mask<NDArray>, queryOffset?: NDArray): readonly number[] {
  const [batch, seq, kvSeq] = [maskKinds(mask).includes('documents') ? 1 : 2, 23, 29];
  const g = new GraphBuilder({ dtype: 'float64' });
  const feed = feeder(g);
  const [q, k, v] = [
    feed.input(randomArray('q', [batch, 1, seq, 3], 'float64')),
    feed.input(randomArray('k', [batch, 1, kvSeq, 3], 'float64')),
    feed.input(randomArray('v', [batch, 1, kvSeq, 2], 'float64')),
  ];
  const options = {
    mask: feed.mask(mask, [batch, 1, seq, kvSeq]),
    ...(queryOffset && { queryOffset: feed.input(queryOffset) }),
  };
  g.output('whole', attendOp(q, k, v, options));
  g.output('chunked', attendInChunks(q, k, v, { ...options, rows: 5, keysName: 'keys_of_chunk' }));
  const counts: number[] = [];
  const { whole, chunked } = interpret(g.finish(), feed.feeds, {
    wrapNode({ op, attrs }, operands, compute) {
      // The keys of a chunk are in its Attend, with a mask and without.
      if (op.key === 'onnxformers.Attend' && attrs.undivided) counts.push(operands[1]!.dims[2]!);
      return compute(operands);
    },
  });
  expectClose(chunked!, whole!, { atol: 1e-12, rtol: 1e-12 });
  return counts;
}
const int64 = (...data: readonly number[]): NDArray => array('int64', [data.length], data);
const every = [29, 29, 29, 29, 29];

test.each<readonly [string, Mask<NDArray>, readonly number[]]>([
  ['no mask', none, every],
  ['causal', causal, [11, 16, 21, 26, 29]],
  ['causal from the top left', causalFromTopLeft, [5, 10, 15, 20, 23]],
  ['a window', slidingWindow({ left: 2, right: 1 }), [8, 8, 8, 8, 5]],
  ['a window from the top left', slidingWindowFromTopLeft({ left: 2, right: 1 }), [6, 8, 8, 8, 6]],
  ['a prefix', prefix(17), [17, 17, 21, 26, 29]],
  ['a prefix of each sequence', prefix(int64(13, 19)), [19, 19, 21, 26, 29]],
  ['lengths', keyLengths(int64(3, 17)), [17, 17, 17, 17, 17]],
  ['lengths of 0', keyLengths(int64(0, 0)), [1, 1, 1, 1, 1]],
  ['padding on the left', keyStarts(int64(7, 5)), [24, 24, 24, 24, 24]],
  ['no key at all', keyStarts(int64(31, 29)), [1, 1, 1, 1, 1]],
  ['causal lengths', and(causal, keyLengths(int64(3, 17))), [11, 16, 17, 17, 17]],
  ['causal, or the first keys', or(causal, keyLengths(int64(3, 19))), [19, 19, 21, 26, 29]],
  ['causal, or all keys', or(causal, none), every],
  ['documents', documents(int64(0, 7, 11, 11, 23), int64(0, 2, 13, 14, 29)), [2, 13, 27, 15, 15]],
  ['documents, causal', and(causal, documents(int64(0, 7, 23), int64(0, 11, 29))), [9, 16, 10, 15, 18]],
  ['what is not causal', not(causal), every],
  ['a class that says nothing', dilated(3), every],
])('under %s chunks attend to the keys that it may allow', (_, mask, expected) => {
  expect(keysOfChunks(mask)).toEqual(expected);
});

test('chunks attend to the keys that exist in a cache', () => {
  expect(keysOfChunks(none, int64(2, 4))).toEqual([27, 27, 27, 27, 27]);
  expect(keysOfChunks(causal, int64(2, 4))).toEqual([9, 14, 19, 24, 27]);
});
