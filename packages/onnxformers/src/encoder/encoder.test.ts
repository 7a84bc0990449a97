// A list of sequences in any order gives what each sequence gives alone, packed and padded, whatever else is in its batch.
import { type AnyModule, FeedError, initialize, type Ort, type Tensor, targets, tensor, toArray } from '@onnxformers/core';
import { expectClose } from '@onnxformers/core/testing';
import fc from 'fast-check';
import * as node from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { zoo } from '../index';
import type { EncoderSequence } from './axes';
import { batchesOf } from './batches';
import { createEncoder, type EncoderLayout, type EncoderOptions } from './create-encoder';
import { pack, unpack } from './pack';

const ort = node as unknown as Ort;
const [dim, vocabSize] = [24, 31];
const stack = (mixer: unknown) => ({
  name: 'stack',
  depth: 2,
  layers: { name: 'pre_norm', mixer, feedforward: { name: 'mlp', hidden: 41 } },
  norm: 'layer_norm',
});
const model = (o: object = {}, mixer: unknown = { name: 'multi_head', heads: 3 }): AnyModule =>
  zoo.build('model', {
    name: 'encoder',
    dim,
    seqLen: 64,
    embedding: { name: 'token', vocabSize },
    position: 'learnable',
    stack: stack(mixer),
    ...o,
  } as never) as AnyModule;

const lengths = [5, 17, 1, 29, 5, 11, 2, 23, 3];
const sequences = lengths.map((n, s) => Array.from({ length: n }, (_, i) => (7 * i * i + 5 * s + i) % vocabSize));
// A dozen layers' roundings of numbers of size 1.
const tolerance = { atol: 2e-5, rtol: 2e-5 };

async function encoded(m: AnyModule, o: Partial<EncoderOptions>, list: readonly EncoderSequence[] = sequences) {
  const encoder = await createEncoder(m, ort, { target: targets.cpu, weights: initialize(m, { seed: 3 }), ...o });
  const results = await encoder.encode(list);
  const { layout, why, report } = encoder;
  await encoder.dispose();
  return { results, layout, why, report: report! };
}
// The expectation of several tests: each sequence by itself.
const known = new WeakMap<AnyModule, ReturnType<typeof encoded>>();
async function alone(m: AnyModule, o: Partial<EncoderOptions> = {}) {
  if (!known.has(m)) known.set(m, encoded(m, { layout: 'padded', ...o, maxTokens: 1, multipleOf: 1 }));
  return (await known.get(m)!).results;
}

describe.each([
  ['bidirectional', model()],
  ['causal', model({ name: 'decoder' })],
  [
    'rotary, shared key heads',
    model({ position: undefined }, { name: 'multi_head', heads: 6, kvHeads: 2, headDim: 8, rotaryEmbedding: 'rotary' }),
  ],
])('%s', (_, m) => {
  it.each([
    ['packed', 16],
    ['padded', 64],
    ['auto', 1000],
  ] as const)('%s, at most %i rows', async (layout, maxTokens) => {
    const expected = await alone(m);
    const { results, report } = await encoded(m, { layout, maxTokens });
    expect(results).toHaveLength(sequences.length);
    results.forEach((result, i) => {
      expect(result.hidden_states!.dims).toEqual([lengths[i], dim]);
      expectClose(result.hidden_states!, toArray(expected[i]!.hidden_states!), tolerance);
    });
    expect(report).toMatchObject({ sequences: 9, tokens: 96 });
    if (layout === 'packed') expect(report).toMatchObject({ rows: 96, padding: 0 });
    else if (layout === 'padded') expect(report.rows).toBeGreaterThan(96);
  });
});

it('outputs of whole sequences belong to their sequence', async () => {
  const m = zoo.build('model', {
    name: 'classifier',
    dim,
    seqLen: 64,
    classes: 7,
    embedding: { name: 'token', vocabSize },
    position: 'learnable',
    stack: stack({ name: 'multi_head', heads: 3 }),
    pooling: 'mean',
  } as never) as AnyModule;
  const expected = await alone(m);
  for (const layout of ['packed', 'padded'] as const) {
    const { results } = await encoded(m, { layout, maxTokens: 40 });
    results.forEach((result, i) => {
      const [name] = Object.keys(result) as [string];
      expect(result[name]!.dims).toEqual([7]);
      expectClose(result[name]!, toArray(expected[i]![name]!), tolerance);
    });
  }
});

describe('a model that mixes positions', () => {
  const mixing = (attention: object) => model({}, { name: 'multi_head', heads: 3, attention });
  it.each([
    ['nystrom', mixing({ name: 'nystrom', landmarks: 5 })],
    ['linformer', mixing({ name: 'linformer', k: 7 })],
    ['a class token', model({ position: { name: 'learnable', classToken: true } })],
  ])('%s runs packed', async (_, m) => {
    const { results, layout } = await encoded(m, { layout: 'auto' });
    expect(layout).toBe('packed');
    const expected = await alone(m, { layout: 'buckets' });
    results.forEach((result, i) => {
      expectClose(result.hidden_states!, toArray(expected[i]!.hidden_states!), tolerance);
    });
  });

  it('fourier_mix runs with sequences of equal length, and says why', async () => {
    const m = model({}, { name: 'fourier_mix' });
    const { results, layout, why, report } = await encoded(m, { layout: 'auto' });
    expect(layout).toBe('buckets');
    expect(why).toContain('fourier_mix does not support the mask: documents');
    expect(why).toContain('Run sequences of equal length together, as createEncoder does');
    expect(report).toMatchObject({ batches: 8, rows: 96, padding: 0, layout: 'buckets' });
    const expected = await alone(m, { layout: 'buckets' });
    results.forEach((result, i) => {
      expectClose(result.hidden_states!, toArray(expected[i]!.hidden_states!), tolerance);
    });
  });
});

describe('an encoder-decoder', () => {
  const side = (name: string, o: object = {}) => ({
    name,
    embedding: { name: 'token', vocabSize },
    position: 'learnable',
    stack: {
      name: 'stack',
      depth: 1,
      layers: { name: 'pre_norm', mixer: { name: 'multi_head', heads: 3 }, feedforward: { name: 'mlp', hidden: 41 }, ...o },
    },
  });
  const cross = { cross: { name: 'multi_head', heads: 2, cross: true } };
  const m = zoo.build('model', {
    name: 'encoder_decoder',
    dim,
    seqLen: 64,
    vocabSize: 13,
    encoder: side('encoder'),
    decoder: side('decoder', cross),
  } as never) as AnyModule;
  const targetLengths = [3, 2, 19, 7, 1, 13, 2, 5, 11];
  const pairs = sequences.map((ids, s) => ({
    ids,
    decoder_ids: Array.from({ length: targetLengths[s]! }, (_, i) => (3 * i * i + s + 2 * i) % vocabSize),
  }));
  let expected: ReturnType<typeof encoded> | undefined;
  it.each([
    ['packed', 47, { rows: 159, padding: 0 }],
    ['padded', 128, {}],
    ['buckets', 128, { batches: 9, rows: 159 }],
    ['auto', 1000, { layout: 'packed', rows: 159, batches: 1 }],
  ] as const)('%s, at most %i rows: each pair as alone', async (layout, maxTokens, told) => {
    expected ??= encoded(m, { layout: 'buckets', maxTokens: 1 }, pairs);
    const { results, report } = await encoded(m, { layout, maxTokens }, pairs);
    const { results: single } = await expected;
    results.forEach((result, i) => {
      expect(result.logits!.dims).toEqual([targetLengths[i], 13]);
      expectClose(result.logits!, toArray(single[i]!.logits!), tolerance);
    });
    expect(report).toMatchObject({ sequences: 9, tokens: 96 + 63, ...told });
    if (layout === 'padded') expect(report.rows).toBeGreaterThan(159);
  });
  it('asks for both sequences', async () => {
    const encoder = await createEncoder(m, ort, { target: targets.cpu, weights: initialize(m) });
    await expect(encoder.encode([[1, 2]])).rejects.toThrow('expected ids, decoder_ids, got one list');
    await expect(encoder.encode([{ ids: [1], decoder_ids: [] }])).rejects.toThrow('no positions in decoder_ids');
    await encoder.dispose();
  });
});

it('a decoder with a memory takes one for each sequence', async () => {
  const m = model(
    {
      name: 'decoder',
      stack: {
        ...stack(undefined),
        layers: { ...stack({ name: 'multi_head', heads: 3 }).layers, cross: { name: 'multi_head', heads: 2, cross: true } },
      },
    },
    undefined,
  );
  const list = sequences.map((ids, s) => {
    const rows = 1 + ((5 * s) % 7);
    return {
      ids,
      memory: tensor(
        'float32',
        [rows, dim],
        Array.from({ length: rows * dim }, (_, i) => Math.sin(i + 17 * s)),
      ),
    };
  });
  const run = async (layout: EncoderLayout, maxTokens: number) => (await encoded(m, { layout, maxTokens }, list)).results;
  const expected = await run('buckets', 1);
  for (const results of [await run('packed', 70), await run('padded', 128)])
    results.forEach((result, i) => {
      expectClose(result.hidden_states!, toArray(expected[i]!.hidden_states!), tolerance);
    });
});

it('every result belongs to its sequence: rows, vectors, weights of pairs, heads', async () => {
  const m = zoo.build('model', {
    name: 'question_answering',
    dim,
    seqLen: 64,
    embedding: { name: 'token', vocabSize },
    position: 'learnable',
    stack: stack({ name: 'multi_head', heads: 3 }),
  } as never) as AnyModule;
  const [weights, queries] = ['stack.layers.1.mixer.attention.weights', 'stack.layers.0.mixer.q_proj'];
  const taps = [weights, queries];
  const expected = (await encoded(m, { taps, layout: 'buckets', maxTokens: 1 })).results;
  for (const layout of ['packed', 'padded'] as const) {
    const { results } = await encoded(m, { taps, layout, maxTokens: 64 });
    results.forEach((result, i) => {
      const n = lengths[i]!;
      expect(Object.fromEntries(Object.entries(result).map(([name, { dims }]) => [name, dims]))).toEqual({
        start_logits: [n],
        end_logits: [n],
        [weights]: [3, n, n],
        [queries]: [n, dim],
      });
      for (const [name, x] of Object.entries(result)) expectClose(x, toArray(expected[i]![name]!), tolerance);
    });
  }
});

it.each([
  ['not where attention avoids padding', { name: 'multi_head', heads: 3 }, 1],
  ['where attention computes padding', { name: 'multi_head', heads: 3, attention: { name: 'linformer', k: 7 } }, 2],
] as const)('packed batches are cut %s', async (_, mixer, batches) => {
  const list = [...Array<number>(8).fill(300), ...Array<number>(40).fill(30)].map((n) => Array<number>(n).fill(1));
  const { report } = await encoded(model({ seqLen: 300 }, mixer), { layout: 'packed' }, list);
  expect(report).toMatchObject({ batches, rows: 3600 });
});

it('pads to no more positions than the model has', async () => {
  const m = model({ seqLen: 29 });
  const { results, report } = await encoded(m, { layout: 'padded', maxTokens: 64 });
  expect(results).toHaveLength(9);
  expect(report.batches).toBeLessThan(9);
});

it('names the kernels of its attention', async () => {
  const { report } = await encoded(model(), {});
  expect(report.kernels).toContain('MultiHeadAttention');
});

it('tells its progress, and an empty list is an empty result', async () => {
  const m = model();
  const encoder = await createEncoder(m, ort, { target: targets.cpu, weights: initialize(m, { seed: 3 }), maxTokens: 30 });
  const seen: number[] = [];
  await encoder.encode(sequences, { onProgress: (done, total) => seen.push(done, total) });
  expect(seen.at(-2)).toBe(9);
  expect(seen.filter((_, i) => i % 2 === 1)).toEqual(seen.filter((_, i) => i % 2 === 1).map(() => 9));
  expect(await encoder.encode([])).toEqual([]);
  expect(encoder.report).toMatchObject({ sequences: 0, batches: 0, rows: 0, padding: 0 });
  await expect(encoder.encode([[1], []])).rejects.toThrow('sequences[1]: the sequence is empty');
  await expect(encoder.encode([{ words: [1] }])).rejects.toThrow(
    'sequences[0]: the inputs are not those of the model; expected ids, got words',
  );
  await encoder.dispose();
});

it.each([
  [{ maxTokens: 0 }, 'options.maxTokens: not a count'],
  [{ multipleOf: 1.5 }, 'options.multipleOf: not a count'],
  [{ layout: 'ragged' }, 'options.layout: wrong value'],
  [{ inputs: { ids: ['int64', ['batch']] } }, 'inputs.ids: the input has no axis of positions'],
])('refuses %o', async (o, message) => {
  await expect(createEncoder(model(), ort, { target: targets.cpu, ...o } as never)).rejects.toThrow(message);
});

describe('batches', () => {
  it('have all sequences once, longest first, and no more rows than allowed', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 40 }),
        fc.integer({ min: 1, max: 200 }),
        fc.option(fc.integer({ min: 1, max: 16 }), { nil: undefined }),
        (all, maxTokens, paddedTo) => {
          const widthFor = (longest: number): number => Math.ceil(longest / paddedTo!) * paddedTo!;
          const batches = batchesOf(
            all.map((n) => [n]),
            { maxTokens, ...(paddedTo !== undefined && { widths: [widthFor] }) },
          );
          expect(batches.flat().sort((a, b) => a - b)).toEqual(all.map((_, i) => i));
          const order = batches.flat().map((i) => all[i]!);
          expect(order).toEqual([...order].sort((a, b) => b - a));
          for (const batch of batches) {
            const width = paddedTo === undefined ? 0 : widthFor(all[batch[0]!]!);
            const rows = paddedTo === undefined ? batch.reduce((n, i) => n + all[i]!, 0) : batch.length * width;
            if (batch.length > 1) expect(rows).toBeLessThanOrEqual(maxTokens);
          }
        },
      ),
    );
  });
});

it('a batch of enough rows takes no much shorter sequences if attention is padded', () => {
  const lengths = [...Array<number>(8).fill(300), ...Array<number>(40).fill(30)];
  const sizes = (o: object) =>
    batchesOf(
      lengths.map((n) => [n]),
      { maxTokens: 16_384, ...o },
    ).map((batch) => batch.length);
  expect(sizes({})).toEqual([48]);
  // Two shorter ones leave 0.8 of the pairs real: 8 · 300² of 10 · 300².
  expect(sizes({ paddedAttention: true })).toEqual([10, 38]);
});

describe('pack', () => {
  it('puts sequences one after another, and unpack separates them', () => {
    const { tokens, lengths: counts, offsets, positions, longest } = pack([[5, 1, 4], [], [2]]);
    const numbers = (t: Tensor): number[] => Array.from(toArray(t).data);
    expect([tokens, counts, offsets, positions].map(numbers)).toEqual([
      [5, 1, 4, 2],
      [3, 0, 1],
      [0, 3, 3, 4],
      [0, 1, 2, 0],
    ]);
    expect(longest).toBe(3);
    const rows = pack([tensor('float32', [2, 3], [1, 2, 3, 4, 5, 6]), tensor('float32', [1, 3], [7, 8, 9])]);
    expect(rows.tokens).toMatchObject({ dtype: 'float32', dims: [3, 3] });
    expect(unpack(rows.tokens, [2, 1]).map((t) => [t.dims, numbers(t)])).toEqual([
      [
        [2, 3],
        [1, 2, 3, 4, 5, 6],
      ],
      [
        [1, 3],
        [7, 8, 9],
      ],
    ]);
  });
  it('refuses what does not fit', () => {
    expect(() => unpack(tensor('float32', [3], [1, 2, 3]), [1, 1])).toThrow(FeedError);
    const mixed = [tensor('float32', [1, 3], [1, 2, 3]), tensor('float32', [1, 2], [1, 2])];
    expect(() => pack(mixed)).toThrow(
      'sequences[1]: sequences of one batch differ in dtype or dims; expected float32[length, 3], got float32[1,2]',
    );
    expect(() => pack([mixed[0]!, [1]])).toThrow('sequences[1]');
  });
});
