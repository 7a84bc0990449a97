// Heads on hidden states: what they compute, against the hidden states of the same encoder.
import { compile, interpret, type NDArray, namesOf, targets } from '@onnxformers/core';
import { expectClose, randomArray, runBlock, traceBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { zoo } from '../index';

const [dim, seq] = [10, 7];
const stack = { name: 'stack', depth: 1, layers: { name: 'pre_norm', mixer: { name: 'multi_head', heads: 2 } } };
const backbone = { dim, stack };
const x = randomArray('x', [2, seq, dim]);
const build = (config: object) => zoo.parse('model', config as { name: string });
const run = (config: object, feeds: Record<string, NDArray> = { x }) => runBlock(build(config), feeds);
const hidden = (feeds: Record<string, NDArray> = { x }) => run({ name: 'encoder', ...backbone }, feeds).outputs.hidden_states!;

/** The row of a position of a sequence. */
const row = (t: NDArray, b: number, i: number): number[] => {
  const width = t.dims.at(-1)!;
  return [...t.data.subarray((b * t.dims[1]! + i) * width, (b * t.dims[1]! + i + 1) * width)];
};
/** W v + b. */
const linear = (p: Record<string, NDArray>, name: string, v: readonly number[]): number[] => {
  const weight = p[`${name}.weight`]!;
  const bias = p[`${name}.bias`];
  return Array.from({ length: weight.dims[0]! }, (_, o) =>
    v.reduce((sum, each, i) => sum + weight.data[o * v.length + i]! * each, bias?.data[o] ?? 0),
  );
};
const array = (dims: number[], data: readonly number[]): NDArray => ({ dtype: 'float32', dims, data: Float64Array.from(data) });
const places = (f: (b: number, i: number) => readonly number[]) =>
  [0, 1].flatMap((b) => Array.from({ length: seq }, (_, i) => f(b, i)).flat());

describe('token_classifier', () => {
  it('maps each position to classes, after a transform', () => {
    const config = { name: 'token_classifier', ...backbone, classes: 3, transform: 'tanh', transformNorm: 'layer_norm' };
    const { outputs, parameters: p } = run(config);
    const h = hidden();
    const expected = places((b, i) => {
      const v = linear(p, 'transform', row(h, b, i)).map(Math.tanh);
      const mean = v.reduce((a, c) => a + c) / dim;
      const deviation = Math.sqrt(v.reduce((a, c) => a + (c - mean) ** 2, 0) / dim + 1e-5);
      const normed = v.map((c, j) => ((c - mean) / deviation) * p['norm.weight']!.data[j]! + p['norm.bias']!.data[j]!);
      return linear(p, 'head', normed);
    });
    expectClose(outputs.logits!, array([2, seq, 3], expected));
  });

  it('gives one logit for each position without classes', () => {
    const { outputs, parameters: p } = run({ name: 'token_classifier', ...backbone });
    const h = hidden();
    expectClose(
      outputs.logits!,
      array(
        [2, seq],
        places((b, i) => linear(p, 'head', row(h, b, i))),
      ),
    );
  });
});

it('question_answering gives the two channels of one head', () => {
  const { outputs, parameters: p } = run({ name: 'question_answering', ...backbone });
  const h = hidden();
  const both = (which: number) =>
    array(
      [2, seq],
      places((b, i) => [linear(p, 'head', row(h, b, i))[which]!]),
    );
  expectClose(outputs.start_logits!, both(0));
  expectClose(outputs.end_logits!, both(1));
});

describe('pooling', () => {
  const int64 = (dims: number[], data: number[]): NDArray => ({ dtype: 'int64', dims, data: Float64Array.from(data) });
  const lengths = { x, lengths: int64([2], [7, 4]) };
  const left = { x, attention_mask: int64([2, seq], [1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 1, 1, 1]) };

  it.each([
    ['first', { x }, [0, 0]],
    ['last', { x }, [6, 6]],
    ['last', lengths, [6, 3]],
    ['last', left, [6, 6]],
    ['first', left, [0, 3]],
  ] as const)('%s reads the right position', (pooling, feeds, at) => {
    const { outputs, parameters: p } = run({ name: 'pooled_encoder', ...backbone, poolerDim: 3, pooling }, feeds);
    const h = hidden(feeds);
    expectClose(outputs.hidden_states!, h, { atol: 0, rtol: 0 });
    const expected = [0, 1].flatMap((b) => linear(p, 'pooler', row(h, b, at[b]!)).map(Math.tanh));
    expectClose(outputs.pooler_output!, array([2, 3], expected));
  });

  it('adds the positions of a mean in float32', () => {
    const { nodes } = compile(build({ name: 'pooled_encoder', ...backbone, pooling: 'mean' }), {
      target: targets.cuda,
      dtype: 'float16',
      inputs: { x: ['float16', ['batch', 'seq', dim]], lengths: ['int64', ['batch']] },
    }).traced;
    const sums = nodes.filter(({ op }) => op.key === 'ReduceSum').map(({ outputs }) => outputs[0]!.dtype);
    expect(sums).toEqual(['float32', 'float32']);
  });

  it('of a causal classifier reads what its last position knows', () => {
    const config = { name: 'classifier', ...backbone, classes: 3, pooling: 'last', causal: true, headBias: false };
    const { outputs, parameters: p } = run(config, lengths);
    const h = run({ name: 'decoder', ...backbone }, lengths).outputs.hidden_states!;
    expectClose(outputs.logits!, array([2, 3], [...linear(p, 'head', row(h, 0, 6)), ...linear(p, 'head', row(h, 1, 3))]));
    expect(Object.keys(p)).not.toContain('head.bias');
  });
});

describe('logits', () => {
  const lm = { name: 'causal_lm', ...backbone, vocabSize: 5, embedding: 'token' };
  const ids: NDArray = { dtype: 'int64', dims: [1, 4], data: Float64Array.of(1, 4, 0, 2) };

  it('are scaled, then bounded', () => {
    const plain = run(lm, { ids }).outputs.logits!;
    const bounded = run({ ...lm, logitScale: 1.75, logitSoftcap: 0.5 }, { ids }).outputs.logits!;
    expectClose(bounded, { ...plain, data: plain.data.map((z) => 0.5 * Math.tanh((1.75 * z) / 0.5)) });
  });

  it('of a masked model may have fewer channels than its layers', () => {
    const config = { name: 'masked_lm', ...backbone, vocabSize: 5, embedding: 'token', embeddingDim: 3 };
    const names = [...namesOf(build(config)).parameters].map(([name, { dims }]) => `${name} ${dims}`);
    expect(names).toEqual(
      expect.arrayContaining(['embedding.weight 5,3', 'transform.weight 3,10', 'norm.weight 3', 'head.bias 5']),
    );
    expect(namesOf(build(config)).aliases.get('head.weight')).toBe('embedding.weight');
  });
});

it('a stack runs groups of layers again, and shares the weights of attention biases', () => {
  const layers = {
    name: 'pre_norm',
    mixer: { name: 'multi_head', heads: 2, attentionBias: { name: 't5_relative', buckets: 4 } },
  };
  const shared = { name: 'stack', dim, depth: 4, groupSize: 2, repeats: 2, sharedBias: true, layers };
  const { outputs, parameters } = runBlock(zoo.parse('stack', shared), { x });
  const bias = 'layers.0.mixer.attention_bias.relative_attention_bias.weight';
  expect(Object.keys(parameters).filter((name) => name.includes('attention_bias'))).toEqual([bias]);
  // Each layer alone, in the order of the repeats, with the bias of the first.
  const alone = zoo.parse('stack', { name: 'stack', dim, depth: 1, layers });
  const names = [...namesOf(alone).parameters];
  const graph = traceBlock(alone, { x: ['float32', x.dims] });
  const y = [0, 1, 0, 1, 2, 3, 2, 3].reduce((rows, layer) => {
    const values = new Map(names.map(([name, p]) => [p, parameters[name === bias ? bias : name.replace('0', String(layer))]!]));
    return interpret(graph, { x: rows }, { parameters: (p) => values.get(p)! }).y!;
  }, x);
  expectClose(outputs.y!, y);
});
