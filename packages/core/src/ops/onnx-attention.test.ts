import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { interpret } from '../interpret/interpret';
import type { Value } from '../ir/graph';
import { and, causal, dense, none } from '../mask/index';
import { checkOp, expectClose } from '../testing';
import { array, feeder, randomArray } from '../testing/attention-calls';
import { attendOp, fromAdditive } from './attend';
import { Attention, Attention24, type OnnxAttentionOptions, onnxAttention } from './onnx-attention';
import { cases } from './onnx-attention.cases';
import { GraphBuilder } from './vocabulary';

test.each(cases.map((c) => [c.name, c] as const))('%s', (_, c) => checkOp(c));

test('agrees with Attend where both apply', () => {
  const call = fc.record({
    batch: fc.integer({ min: 1, max: 3 }),
    kvHeads: fc.integer({ min: 1, max: 2 }),
    group: fc.integer({ min: 1, max: 3 }),
    seq: fc.integer({ min: 1, max: 5 }),
    past: fc.integer({ min: 0, max: 4 }),
    isCausal: fc.boolean(),
    hasMask: fc.boolean(),
    softcap: fc.option(fc.constant(1.5), { nil: undefined }),
    form: fc.constantFrom('whole', 'past', 'nonpad'),
  });
  fc.assert(
    fc.property(call, ({ batch, kvHeads, group, seq, past, isCausal, hasMask, softcap, form }) => {
      const heads = kvHeads * group;
      const before = form === 'whole' ? 0 : past;
      const kvSeq = before + seq;
      const g = new GraphBuilder({ dtype: 'float64' });
      const feed = feeder(g);
      const input = (name: string, ...dims: number[]) => feed.input(randomArray(name, dims, 'float64'));
      const q = input('q', batch, heads, seq, 3);
      const parts = { key: input('past key', batch, kvHeads, before, 3), value: input('past value', batch, kvHeads, before, 2) };
      const [k, v] = [
        input('k', batch, kvHeads, form === 'past' ? seq : kvSeq, 3),
        input('v', batch, kvHeads, form === 'past' ? seq : kvSeq, 2),
      ];
      const keep = hasMask ? feed.input(randomArray('keep', [batch, 1, seq, kvSeq], 'bool')) : undefined;
      // Some rows of the cache hold nothing; queries stand at the end of those that do.
      const held = Array.from({ length: batch }, (_, b) => seq + ((b * 3 + 1) % (before + 1)));
      const nonpad = form === 'nonpad' ? feed.input(array('int64', [batch], held)) : undefined;
      const queryOffset =
        nonpad &&
        feed.input(
          array(
            'int64',
            [batch],
            held.map((n) => n - seq),
          ),
        );
      const options: OnnxAttentionOptions = {
        ...(keep && { mask: keep }),
        ...(isCausal && { causal: true }),
        ...(softcap && { softcap }),
        ...(form === 'past' && { past: parts }),
        ...(nonpad && { nonpad }),
      };
      const { y, present } = onnxAttention(q, k, v, options);
      const all = present ?? { key: k, value: v };
      const mask = and<Value>(isCausal ? causal : none, keep ? dense(keep) : none);
      g.output('onnx', y);
      g.output(
        'attend',
        attendOp(q, all.key, all.value, { mask, ...(queryOffset && { queryOffset }), ...(softcap && { softcap }) }),
      );
      const graph = g.finish();
      for (const prefer of ['evaluate', 'decompose'] as const) {
        const out = interpret(graph, feed.feeds, { prefer });
        expectClose(out.onnx!, out.attend!, { atol: 1e-12, rtol: 1e-12 });
      }
    }),
    { numRuns: 120 },
  );
});

test('an additive mask is a mask and a bias', () => {
  const g = new GraphBuilder({ dtype: 'float64' });
  const feed = feeder(g);
  const [q, k, v] = [
    [2, 3, 5, 3],
    [2, 3, 7, 3],
    [2, 3, 7, 2],
  ].map((dims, i) => feed.input(randomArray(`operand ${i}`, dims, 'float64')));
  const random = randomArray('additive', [1, 3, 5, 7], 'float64');
  // Nothing is left for the third query, of the others a part.
  const data = random.data.map((x, i) => (Math.floor(i / 7) % 5 === 2 || i % 4 === 0 ? Number.NEGATIVE_INFINITY : x));
  const additive = feed.input({ ...random, data });
  g.output('onnx', onnxAttention(q!, k!, v!, { mask: additive }).y);
  g.output('attend', attendOp(q!, k!, v!, fromAdditive(additive)));
  const graph = g.finish();
  for (const prefer of ['evaluate', 'decompose'] as const) {
    const out = interpret(graph, feed.feeds, { prefer });
    expectClose(out.onnx!, out.attend!, { atol: 1e-12, rtol: 1e-12 });
    expect(Array.from(out.attend!.data.subarray(4, 6))).toEqual([0, 0]);
  }
});

describe('operands that do not fit', () => {
  type Dims = readonly (string | number)[];
  const attempt =
    (
      o: (g: GraphBuilder) => OnnxAttentionOptions,
      { q = ['batch', 6, 'seq', 5], k = ['batch', 2, 'kv', 5], v = ['batch', 2, 'kv', 7] }: { q?: Dims; k?: Dims; v?: Dims } = {},
    ) =>
    () => {
      const g = new GraphBuilder();
      return onnxAttention(g.input('q', 'float32', q), g.input('k', 'float32', k), g.input('v', 'float32', v), o(g));
    };
  const input = (g: GraphBuilder, ...dims: Dims): Value => g.input(`x${g.inputs.length}`, 'float32', dims);
  test.each<readonly [string, () => unknown]>([
    ['Q has neither 3 nor 4 axes', attempt(() => ({}), { q: ['batch', 5] })],
    ['K and Q have different numbers of axes', attempt(() => ({}), { k: ['batch', 'kv', 10] })],
    [
      'operands of 3 axes require q_num_heads and kv_num_heads',
      attempt(() => ({}), { q: ['batch', 'seq', 30], k: ['batch', 'kv', 10], v: ['batch', 'kv', 14] }),
    ],
    ['q_num_heads contradicts the operand; expected 6, got 3', attempt(() => ({ heads: { q: 3, kv: 2 } }))],
    [
      'the heads of Q are not a multiple of the heads of K',
      attempt(() => ({}), { k: ['batch', 4, 'kv', 5], v: ['batch', 4, 'kv', 7] }),
    ],
    ['K has the wrong type; expected float32[batch, 2, kv, 5]', attempt(() => ({}), { k: ['batch', 2, 'kv', 3] })],
    ['V has the wrong type', attempt(() => ({}), { v: ['batch', 2, 'other', 7] })],
    [
      'past_value has the wrong type',
      attempt((g) => ({ past: { key: input(g, 'batch', 2, 'past', 5), value: input(g, 'batch', 2, 'past', 5) } })),
    ],
    ['the mask does not broadcast to the scores', attempt((g) => ({ mask: input(g, 'kv', 'seq') }))],
    ['the mask does not broadcast to the scores', attempt((g) => ({ mask: input(g, 'seq', 'named') }))],
    ['the mask has the wrong dtype', attempt((g) => ({ mask: g.input('m', 'int64', ['seq', 'kv']) }))],
    ['nonpad_kv_seqlen has the wrong type', attempt((g) => ({ nonpad: input(g, 'batch') }))],
    [
      'nonpad_kv_seqlen is for caches updated outside',
      attempt((g) => ({
        nonpad: g.input('n', 'int64', ['batch']),
        past: { key: input(g, 'batch', 2, 'past', 5), value: input(g, 'batch', 2, 'past', 7) },
      })),
    ],
    ['softcap is negative', attempt(() => ({ softcap: -1 }))],
    ['softmax_precision is not a float dtype', attempt(() => ({ precision: 'int8' }))],
    [
      'the default scale needs a known head size',
      attempt(() => ({}), { q: ['batch', 6, 'seq', 'd'], k: ['batch', 2, 'kv', 'd'] }),
    ],
  ])('%s', (message, build) => {
    expect(build).toThrow(message);
    expect(build).toThrow('Attention');
  });
  test('each form belongs to its opset', () => {
    const type = (dims: Dims, dtype: 'float32' | 'int64' = 'float32') => ({ dtype, dims });
    const [q, kv, nonpad] = [type(['batch', 2, 'seq', 5]), type(['batch', 2, 'kv', 5]), type(['batch'], 'int64')];
    const operands = [q, kv, kv, undefined, undefined, undefined, nonpad];
    expect(Attention24.infer(operands, { outputs: 1 })).toEqual([q]);
    expect(() => Attention.infer(operands, { outputs: 1 })).toThrow('nonpad_kv_seqlen requires opset 24');
    expect([Attention.since, Attention24.since]).toEqual([23, 24]);
  });
});
