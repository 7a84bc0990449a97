// Any registered mechanism goes into a model by one field; one of fixed length takes that of the model and refuses what is longer.
import { expectClose, randomParameters } from '@onnxformers/core/testing';
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import {
  type AnyModule,
  compile,
  createRunner,
  initialize,
  inputsOf,
  interpret,
  targets,
  tensor,
  toArray,
  toTensor,
  zoo,
} from './index';

const seqLen = 13;
const model = (name: string, attention: string): AnyModule =>
  zoo.parse('model', {
    name,
    dim: 12,
    seqLen,
    embedding: { name: 'vocab', vocabSize: 23 },
    stack: {
      name: 'stack',
      depth: 1,
      layers: { name: 'pre_norm', mixer: { name: 'multi_head', heads: 2, attention }, feedforward: 'mlp' },
      norm: 'layer_norm',
    },
  }) as unknown as AnyModule;
const idsOf = (seq: number) =>
  tensor(
    'int64',
    [2, seq],
    Array.from({ length: 2 * seq }, (_, i) => (7 * i) % 23),
  );
// The cells of an image are not a text of any length.
const attentions = zoo.blocks.filter((b) => b.kind === 'attention' && !('grid' in b.fields)).map((b) => b.blockName);
/** True where the mechanism works under a causal mask. */
function honoursCausal(name: string): boolean {
  const { masks } = zoo.find('attention', name).definition;
  const honoured = typeof masks === 'function' ? masks({}) : (masks ?? []);
  return honoured === 'all' || honoured.includes('causal');
}
const cases = attentions.flatMap((name) => [
  ['encoder', name] as const,
  ...(honoursCausal(name) ? [['decoder', name] as const] : []),
]);

describe('attention by one field', () => {
  it('is tried in encoders and in decoders', () => {
    expect(cases.filter(([kind]) => kind === 'encoder').map(([, name]) => name)).toEqual(attentions);
    expect(cases.filter(([kind]) => kind === 'decoder').length).toBeGreaterThanOrEqual(2);
    expect(cases.filter(([kind]) => kind === 'decoder').length).toBeLessThan(attentions.length);
  });

  it.each(cases)('%s of %s', async (kind, name) => {
    const m = model(kind, name);
    const { byName, of } = randomParameters(m);
    const weights = new Map(Object.entries(byName).map(([path, array]) => [path, toTensor(array)]));
    const compiled = compile(m, { target: targets.cpu, inputs: inputsOf(m), weights });
    const ids = idsOf(seqLen - 2);
    const run = await createRunner(compiled, ort);
    const { hidden_states: y } = await run({ ids });
    const expected = interpret(compiled.traced, { ids: toArray(ids) }, { parameters: of });
    expectClose(y!, expected.hidden_states!, { atol: 1e-4, rtol: 1e-4 });
    await expect(run({ ids: idsOf(seqLen + 1) })).rejects.toThrow(
      new RegExp(
        `longer than the model was built for; expected at most ${seqLen}, by ${kind}\\.embedding.*\\.seqLen, got ${seqLen + 1}`,
      ),
    );
    await run.dispose();
  });

  it('names the field of a mechanism of fixed length', async () => {
    const m = zoo.build('mixer', { name: 'multi_head', dim: 12, heads: 3, seqLen, attention: 'linformer' });
    const run = await createRunner(
      compile(m, { target: targets.cpu, inputs: inputsOf(m), weights: initialize(m, { seed: 5 }) }),
      ort,
    );
    const x = tensor('float32', [1, seqLen + 1, 12], new Array(12 * (seqLen + 1)).fill(0.5));
    await expect(run({ x })).rejects.toThrow(/expected at most 13, by multi_head\.attention\.seqLen, got 14/);
    await run.dispose();
  });

  it('keeps the length that a block sets itself', () => {
    const own = zoo.build('mixer', {
      name: 'multi_head',
      dim: 12,
      heads: 3,
      seqLen,
      attention: { name: 'linformer', seqLen: 5 },
    });
    expect(zoo.toJSON(own)).toMatchObject({ seqLen, attention: { seqLen: 5 } });
    expect(() => zoo.build('mixer', { name: 'multi_head', dim: 12, heads: 3, attention: 'linformer' })).toThrow(
      /seqLen: missing.*Set seqLen here or in an enclosing block/,
    );
  });
});

describe('prefix tokens before padding on the left', () => {
  const variants = attentions.flatMap((name) => [
    [name, {}] as const,
    ...(name === 'local' ? [[name, { window: 3 }] as const] : []),
    ...(name === 'nystrom' ? [[name, { landmarks: 2 }] as const, [name, { landmarks: 2, convolution: 3 }] as const] : []),
  ]);
  const others = ['alibi', 't5_relative'].map((attentionBias) => ['scaled_dot_product', { attentionBias }] as const);
  const encoder = (attention: object, rest: object): AnyModule =>
    zoo.parse('model', {
      name: 'encoder',
      dim: 12,
      seqLen,
      embedding: { name: 'token', vocabSize: 23 },
      position: { name: 'learnable', classToken: true },
      stack: {
        name: 'stack',
        depth: 1,
        layers: { name: 'pre_norm', mixer: { name: 'multi_head', heads: 2, attention, ...rest }, feedforward: 'mlp' },
      },
    }) as unknown as AnyModule;

  it.each([...variants, ...others])('change nothing, or are refused: %s %j', (name, options) => {
    const { attentionBias, ...own } = options as { attentionBias?: string };
    const m = encoder({ name, ...own }, attentionBias ? { attentionBias } : {});
    const { of } = randomParameters(m);
    const real = [3, 1, 4, 15, 9];
    const resultOf = (padding: number) => {
      const row = [...new Array(padding).fill(0), ...real];
      const dims = [1, row.length] as const;
      const inputs = { ids: ['int64', dims], attention_mask: ['int64', dims] } as const;
      const { traced } = compile(m, { target: targets.portable(21), inputs, weights: initialize(m, { seed: 1 }) });
      const keep = row.map((_, i) => Number(i >= padding));
      const feeds = { ids: toArray(tensor('int64', dims, row)), attention_mask: toArray(tensor('int64', dims, keep)) };
      const { data } = interpret(traced, feeds, { parameters: of }).hidden_states!;
      // The class token and the real tokens after the padding.
      return [...data.slice(0, 12), ...data.slice(12 * (1 + padding))];
    };
    let results: number[][];
    try {
      results = [0, 1, 2, 7].map(resultOf);
    } catch (error) {
      const distances = name === 'local' || name === 'lambda' || 'convolution' in own;
      const { masks } = zoo.find('attention', name).definition;
      const hasPadding = masks === 'all' || (Array.isArray(masks) && masks.includes('keyPadding'));
      expect(distances || !hasPadding).toBe(true);
      expect((error as Error).message).toMatch(
        distances ? 'distances between positions are not known' : `${name} does not support the mask`,
      );
      return;
    }
    expect(name).not.toBe('local');
    const [alone, ...padded] = results;
    for (const each of padded) {
      expect(each.length).toBe(alone!.length);
      expect(Math.max(...each.map((v, i) => Math.abs(Number(v) - Number(alone![i]))))).toBeLessThan(1e-9);
    }
  });
});
