import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Dim } from '../dim/dim';
import { interpret } from '../interpret/interpret';
import type { Value } from '../ir/graph';
import type { Reason } from '../lower/reason';
import { and, causal, dense, documents, keyLengths, keyPadding, type Mask, none, not, or, slidingWindow } from '../mask/index';
import type { NDArray } from '../tensor/tensor';
import { expectClose } from '../testing';
import { array, feeder, randomArray } from '../testing/attention-calls';
import { attendOp } from './attend';
import { attendBlockwise, blockSizeOf, readBlockwise } from './attend-window';
import { GraphBuilder } from './vocabulary';

interface Call {
  readonly batch: number;
  readonly kvHeads: number;
  readonly group: number;
  readonly seq: number;
  readonly past: number;
  readonly left: number;
  readonly right: number;
  readonly symbolic: boolean;
  readonly data: 'nothing' | 'lengths' | 'keys' | 'documents';
  readonly sinks: boolean;
  readonly softcap: boolean;
}

const calls: fc.Arbitrary<Call> = fc.record({
  batch: fc.integer({ min: 1, max: 2 }),
  kvHeads: fc.integer({ min: 1, max: 2 }),
  group: fc.integer({ min: 1, max: 2 }),
  seq: fc.integer({ min: 1, max: 139 }),
  past: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 40 })),
  left: fc.oneof(fc.integer({ min: 0, max: 19 }), fc.integer({ min: 20, max: 80 })),
  right: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 19 }), fc.integer({ min: 20, max: 80 })),
  symbolic: fc.boolean(),
  data: fc.constantFrom('nothing', 'lengths', 'keys', 'documents'),
  sinks: fc.boolean(),
  softcap: fc.boolean(),
});

function check(c: Call): void {
  const packed = c.data === 'documents';
  const [batch, past] = packed ? [1, 0] : [c.batch, c.past];
  const heads = c.kvHeads * c.group;
  const kvSeq = past + c.seq;
  const named: readonly [Dim, Dim, Dim] = c.symbolic
    ? [packed ? 1 : 'batch', 'seq', past ? 'past + seq' : 'seq']
    : [batch, c.seq, kvSeq];
  const g = new GraphBuilder({ dtype: 'float64' });
  const feed = feeder(g);
  const input = (name: string, dims: readonly number[], as: readonly Dim[]): Value =>
    feed.input(randomArray(name, dims, 'float64'), as);
  const q = input('q', [batch, heads, c.seq, 3], [named[0], heads, named[1], 3]);
  const k = input('k', [batch, c.kvHeads, kvSeq, 3], [named[0], c.kvHeads, named[2], 3]);
  const v = input('v', [batch, c.kvHeads, kvSeq, 2], [named[0], c.kvHeads, named[2], 2]);
  const options = {
    mask: and(slidingWindow({ left: c.left, right: c.right }), dataMask(c, batch, kvSeq, named, feed.input)),
    ...(c.sinks && { sinks: input('sinks', [heads], [heads]) }),
    ...(c.softcap && { softcap: 1.3 }),
  };
  g.output('plain', attendOp(q, k, v, options));
  g.output('blocks', attendBlockwise(q, k, v, options));
  const graph = g.finish();
  for (const prefer of ['evaluate', 'decompose'] as const) {
    const { plain, blocks } = interpret(graph, feed.feeds, { prefer });
    expectClose(blocks!, plain!, { atol: 1e-12, rtol: 1e-12 });
  }
}

function dataMask(
  { data }: Call,
  batch: number,
  kvSeq: number,
  named: readonly [Dim, Dim, Dim],
  input: (x: NDArray, dims?: readonly Dim[]) => Value,
): Mask<Value> {
  if (data === 'lengths')
    return keyLengths(
      input(
        array(
          'int64',
          [batch],
          Array.from({ length: batch }, (_, b) => Math.floor((kvSeq * b) / 2)),
        ),
        [named[0]],
      ),
    );
  if (data === 'keys') return keyPadding(input(randomArray('keep', [batch, kvSeq], 'bool'), [named[0], named[2]]));
  if (data === 'nothing') return none;
  const ends = [0, Math.floor(kvSeq / 5), Math.floor(kvSeq / 2), Math.floor(kvSeq / 2), Math.floor(0.9 * kvSeq)];
  const offsets = input(array('int64', [ends.length], ends));
  return documents(offsets);
}

test('blocks agree with attention without blocks', () => {
  fc.assert(fc.property(calls, check), { numRuns: 100 });
});

test.each([
  ['a whole number of blocks', 96],
  ['one query more', 97],
  ['one query less', 95],
  ['less than a block', 5],
])('%s', (_, seq) => {
  for (const [left, right] of [
    [8, 8],
    [15, 1],
    [32, 0],
    [0, 32],
    [33, 0],
    [70, 80],
    [0, 0],
    [1, 1],
  ] as const)
    for (const symbolic of [true, false])
      check({
        batch: 2,
        kvHeads: 1,
        group: 3,
        seq,
        past: 0,
        left,
        right,
        symbolic,
        data: 'nothing',
        sinks: false,
        softcap: false,
      });
});

test('memory grows with the window, not with the keys', () => {
  const largest = (seq: number, left: number): number => {
    const g = new GraphBuilder();
    const [q, k, v] = ['q', 'k', 'v'].map((name) => g.input(name, 'float32', [1, 1, seq, 1])) as [Value, Value, Value];
    g.output('y', attendBlockwise(q, k, v, { mask: slidingWindow({ left, right: 0 }) }));
    return Math.max(...g.finish().nodes.flatMap((n) => n.outputs.map((o) => (o.dims as number[]).reduce((a, b) => a * b, 1))));
  };
  expect(largest(4096, 256)).toBe(4096 * (256 + 64));
  expect(largest(8192, 256)).toBe(2 * largest(4096, 256));
  expect(largest(4096, 512)).toBe(2 * largest(4096, 256));
  expect(blockSizeOf(2, 2)).toEqual({ queries: 32, keys: 64 });
  expect(largest(4096, 4)).toBe(4096 * 64);
});

describe('what blocks cannot express', () => {
  const window = slidingWindow({ left: 2, right: 2 });
  const keep = dense(0);
  test.each<readonly [string, Parameters<typeof readBlockwise>[0]]>([
    ['the mask is not a window bounded on both sides: causal', { mask: causal }],
    ['the mask is not a window bounded on both sides: window(2 left, ∞ right)', { mask: slidingWindow({ left: 2 }) }],
    ['the window excludes the query itself', { mask: slidingWindow({ left: 2, right: -1 }) }],
    ['it cannot express the mask: dense, not (causal)', { mask: and<number>(window, keep, not(causal)) }],
    ['it cannot express the mask: window(2 left, 2 right) or dense', { mask: or<number>(window, keep) }],
    ['keys and queries belong to different sequences', { mask: and<number>(window, documents(0, 1)) }],
    ['the query offset depends on data', { mask: window, queryOffset: 1 }],
    ['a bias has a number for every pair', { mask: window, bias: 1 }],
    ['dropout has a number for every pair', { mask: window, noise: 1 }],
  ])('%s', (reason, parts) => expect((readBlockwise(parts) as { refused: Reason }).refused.text).toContain(reason));
  test('a causal window is one', () =>
    expect(readBlockwise({ mask: and(causal, slidingWindow({ left: 2 })) })).toEqual({ left: 2, right: 0 }));
  test('requested anyway', () => {
    const g = new GraphBuilder();
    const [q, k, v] = ['q', 'k', 'v'].map((name) => g.input(name, 'float32', [1, 1, 'seq', 3])) as [Value, Value, Value];
    expect(() => attendBlockwise(q, k, v, { mask: causal })).toThrow(
      'attendBlockwise: the mask is not a window bounded on both sides: causal',
    );
  });
});
