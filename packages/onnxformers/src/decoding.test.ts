// With a cache, a prompt and then token by token gives what the whole sequence gives: mechanisms, options of multi_head and rotary embeddings.
import { compile, createRunner, initialize, pastOf, targets, tensor } from '@onnxformers/core';
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { type AnyModule, inputsOf, zoo } from './index';

const [dim, vocabSize, seqLen] = [24, 29, 16];
const decoder = (mixer: object): AnyModule =>
  zoo.parse('model', {
    name: 'decoder',
    dim,
    seqLen,
    embedding: { name: 'token', vocabSize },
    stack: {
      name: 'stack',
      depth: 2,
      layers: { name: 'pre_norm', mixer: { name: 'multi_head', heads: 4, ...mixer }, feedforward: 'mlp' },
      norm: 'layer_norm',
    },
  }) as unknown as AnyModule;

const window = { name: 'local', window: 3, causal: true };
const rotary = { name: 'rotary', theta: 50 };
const cases: readonly (readonly [string, object])[] = [
  ['learned sinks', { attention: { name: 'scaled_dot_product', sinks: 'learned' } }],
  ['zero sinks', { attention: { name: 'scaled_dot_product', sinks: 'zero' }, kvHeads: 2 }],
  ['a window with sinks and a softcap', { attention: { ...window, sinks: 'learned', softcap: 3 }, kvHeads: 2 }],
  ['differential', { attention: 'differential', kvHeads: 2, rotaryEmbedding: rotary }],
  ['talking_heads', { attention: { name: 'talking_heads', bias: true }, kvHeads: 2 }],
  ['sigmoid_attention', { attention: 'sigmoid_attention' }],
  ['a gate', { gate: 'head', kvHeads: 2 }],
  ['value residual', { valueResidual: 'learned', kvHeads: 2, rotaryEmbedding: rotary }],
  ['a norm for each head', { qkNorm: 'rms_norm', qkNormOver: 'eachHead', kvHeads: 2, rotaryEmbedding: rotary }],
  ['xpos', { rotaryEmbedding: { name: 'xpos', scaleBase: 7 } }],
  ['multi_section_rotary', { rotaryEmbedding: { name: 'multi_section_rotary', theta: 50 } }],
  [
    'yarn without truncate',
    { rotaryEmbedding: { ...rotary, scaling: 'yarn', factor: 2, originalMaxPositions: 97, truncate: false } },
  ],
];

const ids = (rows: readonly (readonly number[])[]) => tensor('int64', [rows.length, rows[0]!.length], rows.flat());
const prompt = [
  [3, 14, 15, 9, 2, 6, 5],
  [6, 5, 3, 5, 8, 9, 7],
];

describe('decoding', () => {
  const target = targets.cpu;
  it.each(cases)('%s', async (_, mixer) => {
    const m = decoder(mixer);
    const weights = initialize(m, { seed: 7 });
    const options = { target, inputs: inputsOf(m), weights };
    const run = await createRunner(compile(m, options), ort);
    const { hidden_states: whole } = await run({ ids: ids(prompt) });
    const step = await createRunner(compile(m, { ...options, state: 'io', assumptions: ['prefill into empty cache'] }), ort);
    const rowOf = (t: typeof whole, b: number, i: number) =>
      Array.from({ length: dim }, (_, c) => Number(t!.data[(b * t!.dims[1]! + i) * dim + c]));
    let outputs = await step({ ids: ids(prompt.map((row) => row.slice(0, 3))) });
    for (let i = 2; ; i++) {
      const last = outputs.hidden_states!;
      for (const b of [0, 1])
        rowOf(last, b, last.dims[1]! - 1).forEach((e, c) => {
          expect(Math.abs(e - rowOf(whole, b, i)[c]!)).toBeLessThan(2e-5);
        });
      if (i === 6) break;
      outputs = await step({ ids: ids(prompt.map((row) => [row[i + 1]!])), ...pastOf(outputs) });
    }
    await run.dispose();
    await step.dispose();
  });
});
