// Heads on hidden states: what they compute, against the hidden states of the same encoder.
import { type AnyModule, compile, interpret, type NDArray, namesOf, targets } from '@onnxformers/core';
import { expectClose, randomArray, randomParameters, runBlock, traceBlock } from '@onnxformers/core/testing';
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

  /** The mean of positions of a sequence. */
  const mean = (h: NDArray, b: number, at: readonly number[]) =>
    Array.from({ length: dim }, (_, c) => at.reduce((sum, i) => sum + row(h, b, i)[c]!, 0) / at.length);

  it.each([
    [
      'all positions',
      { x },
      [
        [1, 2, 3, 4, 5, 6],
        [1, 2, 3, 4, 5, 6],
      ],
    ],
    [
      'padding on the left',
      left,
      [
        [1, 2, 3, 4, 5, 6],
        [4, 5, 6],
      ],
    ],
    [
      'lengths',
      lengths,
      [
        [1, 2, 3, 4, 5, 6],
        [1, 2, 3],
      ],
    ],
  ] as const)('of the rest is the mean without the first, of %s', (_, feeds, at) => {
    const pooled = (pooling: string) => run({ name: 'pooled_encoder', ...backbone, projection: false, pooling }, feeds).outputs;
    const h = hidden(feeds);
    const rest = [0, 1].map((b) => mean(h, b, at[b]!));
    expectClose(pooled('rest').pooler_output!, array([2, dim], rest.flat()));
    const both = [0, 1].flatMap((b) => [...row(h, b, at[b]![0]! - 1), ...rest[b]!]);
    expectClose(pooled('first_and_rest').pooler_output!, array([2, 2 * dim], both));
  });

  it('at the end reads the last position, padding or not', () => {
    const { outputs } = run({ name: 'pooled_encoder', ...backbone, projection: false, pooling: 'end' }, lengths);
    const h = hidden(lengths);
    expectClose(outputs.pooler_output!, array([2, dim], [...row(h, 0, 6), ...row(h, 1, 6)]));
  });

  it.each([
    ['an id', { poolId: 3 }, [2, 1, 0]],
    ['the largest id', {}, [4, 1, 0]],
  ])('at %s reads its first position', (_, own, at) => {
    // The second sequence has larger ids in its padding; the third one has the id nowhere.
    const ids = int64([3, 5], [1, 0, 3, 3, 4, 2, 3, 3, 4, 3, 4, 1, 1, 0, 0]);
    const feeds = { ids, lengths: int64([3], [5, 2, 5]) };
    const tokens = { ...backbone, embedding: { name: 'token', vocabSize: 5 } };
    const { outputs } = run({ name: 'pooled_encoder', ...tokens, projection: false, pooling: 'id', ...own }, feeds);
    const h = run({ name: 'encoder', ...tokens }, feeds).outputs.hidden_states!;
    expectClose(
      outputs.pooler_output!,
      array(
        [3, dim],
        [0, 1, 2].flatMap((b) => row(h, b, at[b]!)),
      ),
    );
    expect(() => run({ name: 'pooled_encoder', ...backbone, pooling: 'id' })).toThrow(/there are no ids/);
  });

  it('is followed by a norm, and preceded by a layer', () => {
    const latents = {
      name: 'perceiver_latents',
      latents: 1,
      layers: { name: 'pre_norm', cross: { name: 'multi_head', heads: 2, cross: true } },
    };
    const config = { name: 'pooled_encoder', ...backbone, projection: false, poolNorm: 'layer_norm' };
    const { outputs, parameters: p } = run({ ...config, pooling: 'rest' });
    expect(Object.keys(p).filter((name) => name.startsWith('pool'))).toEqual(['pool.norm.weight', 'pool.norm.bias']);
    const h = hidden();
    const normed = [0, 1].flatMap((b) => {
      const v = mean(h, b, [1, 2, 3, 4, 5, 6]);
      const middle = v.reduce((a, c) => a + c) / dim;
      const deviation = Math.sqrt(v.reduce((a, c) => a + (c - middle) ** 2, 0) / dim + 1e-5);
      return v.map((c, j) => ((c - middle) / deviation) * p['pool.norm.weight']!.data[j]! + p['pool.norm.bias']!.data[j]!);
    });
    expectClose(outputs.pooler_output!, array([2, dim], normed));
    // The latents read padding as little as the layers do.
    const layered = (feeds: Record<string, NDArray>) => run({ ...config, poolLayer: latents }, feeds).outputs.pooler_output!;
    const short = { x: array([1, 4, dim], [...x.data.subarray(seq * dim, (seq + 4) * dim)]) };
    expectClose(array([1, dim], [...layered(lengths).data.subarray(dim)]), layered(short), { atol: 1e-12, rtol: 1e-12 });
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

  it('of a stack with a projection read its channels, those of a tied embedding', () => {
    const narrow = {
      ...lm,
      tied: true,
      embedding: { name: 'vocab', seqLen: 7, wordDim: 3 },
      stack: { ...stack, norm: 'layer_norm', outDim: 3, projection: true },
    };
    const { outputs, parameters: p } = run(narrow, { ids });
    const names = Object.entries(p).map(([name, { dims }]) => `${name} ${dims}`);
    expect(names).toEqual(
      expect.arrayContaining(['embedding.word_embeddings.weight 5,3', 'stack.norm.weight 10', 'stack.projection.weight 3,10']),
    );
    const wide = {
      name: 'decoder',
      ...backbone,
      embedding: { ...narrow.embedding, vocabSize: 5 },
      stack: { ...stack, norm: 'layer_norm' },
    };
    const h = run(wide, { ids }).outputs.hidden_states!;
    const projected = [0, 1, 2, 3].map((i) => linear(p, 'stack.projection', row(h, 0, i)));
    const own = { 'head.weight': p['embedding.word_embeddings.weight']! };
    expectClose(
      outputs.logits!,
      array(
        [1, 4, 5],
        projected.flatMap((v) => linear(own, 'head', v)),
      ),
    );
    const unprojected = { ...narrow, stack: { ...narrow.stack, projection: false } };
    expect(() => run(unprojected, { ids })).toThrow(
      /outDim: the last layer returns another number of channels; expected 3, got 10/,
    );
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

it('distilled_classifier is the mean of a head on each of the first two positions', () => {
  const { outputs, parameters: p } = run({ name: 'distilled_classifier', ...backbone, classes: 3 });
  const h = hidden();
  const heads = ['head', 'distillation_head'].map((name, i) => [0, 1].flatMap((b) => linear(p, name, row(h, b, i))));
  expectClose(outputs.cls_logits!, array([2, 3], heads[0]!));
  expectClose(outputs.distillation_logits!, array([2, 3], heads[1]!));
  expectClose(
    outputs.logits!,
    array(
      [2, 3],
      heads[0]!.map((a, i) => (a + heads[1]![i]!) / 2),
    ),
  );
});

describe('dual_encoder', () => {
  const tower = (width: number, embedding: object) => ({
    name: 'pooled_encoder',
    dim: width,
    poolerDim: 5,
    embedding,
    stack: { name: 'stack', depth: 1, layers: { name: 'pre_norm', mixer: { name: 'multi_head', heads: 1 } } },
  });
  const text = tower(7, { name: 'vocab', vocabSize: 11, seqLen: 4 });
  const vision = tower(3, { name: 'patch', kernelSize: 2 });
  const ids: NDArray = { dtype: 'int64', dims: [3, 4], data: Float64Array.of(4, 1, 0, 0, 2, 9, 3, 0, 7, 7, 10, 5) };
  const attention_mask: NDArray = { dtype: 'int64', dims: [3, 4], data: Float64Array.of(1, 1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 1) };
  const pixels = randomArray('pixels', [2, 3, 4, 6]);

  it('compares unit vectors of another number of texts than images', () => {
    const dual = build({ name: 'dual_encoder', logitBias: true, text, vision });
    const { of, byName: p } = randomParameters(dual);
    const evaluate = (m: AnyModule, feeds: Record<string, NDArray>) => {
      const types = Object.fromEntries(Object.entries(feeds).map(([name, { dtype, dims }]) => [name, [dtype, dims] as const]));
      return interpret(traceBlock(m, types), feeds, { parameters: of });
    };
    const outputs = evaluate(dual, { ids, attention_mask, pixels });
    const units = (side: string, feeds: Record<string, NDArray>): number[][] => {
      const pooled = evaluate(dual.children[side] as AnyModule, feeds).pooler_output!;
      return Array.from({ length: pooled.dims[0]! }, (_, b) => {
        const v = [...pooled.data.subarray(b * 5, (b + 1) * 5)];
        return v.map((c) => c / Math.hypot(...v));
      });
    };
    const [texts, images] = [units('text', { ids, attention_mask }), units('vision', { pixels })];
    expectClose(outputs.text_embeds!, array([3, 5], texts.flat()), { atol: 1e-7, rtol: 1e-6 });
    expectClose(outputs.image_embeds!, array([2, 5], images.flat()), { atol: 1e-7, rtol: 1e-6 });
    const logit = (u: number[], v: number[]) =>
      Math.exp(p.logit_scale!.data[0]!) * u.reduce((sum, c, i) => sum + c * v[i]!, 0) + p.logit_bias!.data[0]!;
    const perText = texts.flatMap((u) => images.map((v) => logit(u, v)));
    expectClose(outputs.logits_per_text!, array([3, 2], perText), { atol: 1e-6, rtol: 1e-6 });
    const perImage = images.flatMap((v) => texts.map((u) => logit(u, v)));
    expectClose(outputs.logits_per_image!, array([2, 3], perImage), { atol: 1e-6, rtol: 1e-6 });
  });

  it('refuses models without a pooled vector', () => {
    const { poolerDim, ...bare } = text;
    const config = { name: 'dual_encoder', text: { ...bare, name: 'encoder' }, vision };
    expect(() => run(config, { ids, pixels })).toThrow(/dual_encoder.text: the model returned no pooler_output/);
    expect(poolerDim).toBe(5);
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
