import {
  type AnyModule,
  auxiliaryLoss,
  ConfigError,
  compile,
  type Dim,
  type DType,
  initialize,
  interpret,
  type KindModule,
  lazyTensor,
  module,
  type NDArray,
  namesOf,
  type Parameter,
  type SequenceContext,
  serialize,
  targets,
  type Value,
  WeightError,
} from '@onnxformers/core';
import { derivedOf, expectClose, randomArray, randomParameters, traceBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { zoo } from '../index';

const layer = { name: 'pre_norm', mixer: { name: 'multi_head', heads: 3 }, feedforward: { name: 'mlp', hidden: 17 } } as const;
const stack = { name: 'stack', depth: 2, layers: layer, norm: 'layer_norm' } as const;
const lm = { name: 'causal_lm', dim: 12, vocabSize: 23, embedding: 'token', stack } as const;
const numbers = (dims: number[], f: (i: number) => number): NDArray => ({
  dtype: 'int64',
  dims,
  data: Float64Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => f(i)),
});
const ids = (batch: number, seq: number, below = 23): NDArray => numbers([batch, seq], (i) => (7 * i + 3) % below);

type Inputs = Readonly<Record<string, readonly [DType, readonly Dim[]]>>;
const compiled = (m: AnyModule, inputs: Inputs = { ids: ['int64', ['batch', 'seq']] }) =>
  compile(m, { target: targets.portable(21), inputs, weights: initialize(m, { seed: 1 }) });
/** Outputs in the interpreter, with parameters that may be those of a larger module. */
function run(
  m: AnyModule,
  feeds: Readonly<Record<string, NDArray>>,
  parameters: (p: Parameter) => NDArray = randomParameters(m).of,
) {
  const inputs = Object.fromEntries(Object.entries(feeds).map(([name, { dtype, dims }]) => [name, [dtype, dims] as const]));
  return interpret(traceBlock(m, inputs), feeds, { parameters });
}
const names = (m: AnyModule): string[] => [...namesOf(m).parameters.keys()];

describe('causal_lm', () => {
  it('returns logits for each token at symbolic sizes', () => {
    const { signature } = compiled(zoo.build('model', lm));
    expect(signature.inputs).toMatchObject([{ name: 'ids', dtype: 'int64', dims: ['batch', 'seq'] }]);
    expect(signature.outputs).toEqual([{ name: 'logits', dtype: 'float32', dims: ['batch', 'seq', 23] }]);
  });

  it('names its parameters by their place', () => {
    expect(names(zoo.build('model', { ...lm, stack: { ...stack, depth: 1 } }))).toEqual([
      'embedding.weight',
      'stack.layers.0.norm1.weight',
      'stack.layers.0.norm1.bias',
      'stack.layers.0.mixer.q_proj.weight',
      'stack.layers.0.mixer.q_proj.bias',
      'stack.layers.0.mixer.k_proj.weight',
      'stack.layers.0.mixer.k_proj.bias',
      'stack.layers.0.mixer.v_proj.weight',
      'stack.layers.0.mixer.v_proj.bias',
      'stack.layers.0.mixer.o_proj.weight',
      'stack.layers.0.mixer.o_proj.bias',
      'stack.layers.0.norm2.weight',
      'stack.layers.0.norm2.bias',
      'stack.layers.0.feedforward.up.weight',
      'stack.layers.0.feedforward.up.bias',
      'stack.layers.0.feedforward.down.weight',
      'stack.layers.0.feedforward.down.bias',
      'stack.norm.weight',
      'stack.norm.bias',
      'head.weight',
    ]);
  });

  it('stores a tied table once and accepts it under either name', () => {
    const tied = zoo.build('model', { ...lm, tied: true });
    expect(namesOf(tied).aliases).toEqual(new Map([['head.weight', 'embedding.weight']]));
    const tables = serialize(compiled(tied)).graph.initializers.filter(
      ({ dims }) => `${dims}` === '23,12' || `${dims}` === '12,23',
    );
    const apart = serialize(compiled(zoo.build('model', lm))).graph.initializers.filter(({ dims }) => dims.includes(23));
    expect(apart).toHaveLength(2);
    expect(tables.map(({ name }) => name)).toContain('embedding.weight');

    const weights = new Map(initialize(tied, { seed: 1 }));
    const table = weights.get('embedding.weight')!;
    weights.delete('embedding.weight');
    weights.set('head.weight', table);
    const inputs = { ids: ['int64', ['batch', 'seq']] } as const;
    const model = compile(tied, { target: targets.portable(21), inputs, weights });
    expect(model.weights!.get('embedding.weight')).toBeDefined();
    weights.set('tail.weight', lazyTensor({ dtype: 'float32', dims: [1], data: new Float32Array(1) }));
    expect(() => compile(tied, { target: targets.portable(21), inputs, weights })).toThrow(WeightError);
  });

  it('uses the tied table in the head', () => {
    const tied = zoo.build('model', { ...lm, tied: true, stack: { ...stack, depth: 0, norm: undefined } });
    const table = randomArray('table', [23, 12]);
    const { logits } = run(tied, { ids: ids(1, 3) }, () => table);
    const row = (id: number) => Array.from(table.data.subarray(id * 12, id * 12 + 12));
    const expected = Array.from(ids(1, 3).data).flatMap((id) =>
      Array.from({ length: 23 }, (_, j) => row(j).reduce((sum, w, c) => sum + w * row(id)[c]!, 0)),
    );
    expectClose(logits!, { dtype: 'float32', dims: [1, 3, 23], data: Float64Array.from(expected) });
  });

  it('refuses to tie what does not fit', () => {
    const { embedding: _, ...without } = lm;
    expect(() => zoo.build('model', { ...without, tied: true })).toThrow(/tied is set, but the model has no embedding/);
    expect(() => zoo.build('model', { ...lm, tied: true, embedding: { name: 'token', vocabSize: 24 } })).toThrow(
      /no table that the head could use; expected a parameter \[23, 12\]/,
    );
    expect(() => zoo.build('model', { ...lm, tied: true, embeddingDim: 8 })).toThrow(ConfigError);
  });
});

describe('encoder, decoder and both', () => {
  const cross = { ...layer, cross: { name: 'multi_head', heads: 2, cross: true } } as const;
  const both = zoo.build('model', {
    name: 'encoder_decoder',
    dim: 12,
    vocabSize: 23,
    tied: true,
    encoder: { name: 'encoder', embedding: { name: 'token', vocabSize: 19 }, position: 'sine', stack },
    decoder: { name: 'decoder', embedding: 'token', position: 'sine', stack: { ...stack, depth: 1, layers: cross } },
  });

  it('an encoder-decoder is its encoder, its decoder and its head', () => {
    const feeds = { ids: ids(2, 7, 19), decoder_ids: ids(2, 5), lengths: numbers([2], (i) => [7, 4][i]!) };
    const { of } = randomParameters(both);
    const parts = both.children as Readonly<Record<'encoder' | 'decoder', AnyModule>>;
    const memory = run(parts.encoder, { ids: feeds.ids, lengths: feeds.lengths }, of).hidden_states!;
    const hidden = run(parts.decoder, { ids: feeds.decoder_ids, memory, memory_lengths: feeds.lengths }, of).hidden_states!;
    const table = of(namesOf(both).parameters.get('decoder.embedding.weight')!);
    const logits = Float64Array.from({ length: 2 * 5 * 23 }, (_, i) => {
      const [row, token] = [Math.floor(i / 23), i % 23];
      return Array.from({ length: 12 }, (_, c) => hidden.data[row * 12 + c]! * table.data[token * 12 + c]!).reduce(
        (a, b) => a + b,
      );
    });
    expectClose(run(both, feeds, of).logits!, { dtype: 'float32', dims: [2, 5, 23], data: logits });
  });

  it('has the auxiliary losses of its encoder and of its decoder', () => {
    const mixture = (layers: object) => ({
      ...stack,
      depth: 1,
      layers: { ...layers, feedforward: { name: 'sparse_moe', experts: 3, hidden: 5 } },
    });
    const inner = zoo.parse('model', {
      name: 'encoder_decoder',
      dim: 12,
      encoder: { name: 'encoder', embedding: { name: 'token', vocabSize: 19 }, stack: mixture(layer) },
      decoder: { name: 'decoder', embedding: { name: 'token', vocabSize: 23 }, stack: mixture(cross) },
    } as never);
    const lossOf = (m: AnyModule) =>
      module({ m }, (inputs: Readonly<Record<string, Value>>, ctx: SequenceContext) => {
        const { hidden_states } = (m as KindModule<'model'>)(inputs, ctx);
        return { hidden_states: hidden_states!, loss: auxiliaryLoss(ctx)! };
      });
    const { of } = randomParameters(inner);
    const parts = inner.children as Readonly<Record<'encoder' | 'decoder', AnyModule>>;
    const [encoderIds, decoder_ids] = [ids(2, 7, 19), ids(2, 5)];
    const encoded = run(lossOf(parts.encoder), { ids: encoderIds }, of);
    const decoded = run(lossOf(parts.decoder), { ids: decoder_ids, memory: encoded.hidden_states! }, of);
    const { loss } = run(lossOf(inner), { ids: encoderIds, decoder_ids }, of);
    expect(loss!.data[0]).toBeCloseTo(encoded.loss!.data[0]! + decoded.loss!.data[0]!, 10);
  });

  it('has symbolic sizes of its own for both sequences', () => {
    const model = compiled(both, { ids: ['int64', ['batch', 'seq']], decoder_ids: ['int64', ['batch', 'decoder_seq']] });
    expect(model.signature.outputs).toEqual([{ name: 'logits', dtype: 'float32', dims: ['batch', 'decoder_seq', 23] }]);
  });

  it('refuses a state for the whole model, and tied embeddings without an embedding', () => {
    const inputs = { ids: ['int64', [1, 3]], decoder_ids: ['int64', [1, 2]] } as const;
    expect(() => compile(both, { target: targets.portable(21), inputs, state: 'io' })).toThrow(
      /cannot be compiled with a state as a whole.*module\.children\.encoder/,
    );
    const encoder = { name: 'encoder', stack } as const;
    const headless = { name: 'encoder_decoder', dim: 12, tied: true, encoder, decoder: { name: 'decoder', stack } } as const;
    expect(() => zoo.build('model', headless)).toThrow(/tied is set, but there is no head or no embedding to tie/);
  });

  it('reads x without an embedding, and reports a missing input', () => {
    const encoder = zoo.build('model', { name: 'encoder', dim: 12, stack });
    const x = randomArray('x', [2, 3, 12]);
    expect(run(encoder, { x }).hidden_states!.dims).toEqual([2, 3, 12]);
    expect(() => run(encoder, { ids: ids(2, 3) })).toThrow(/the model has no input sequence; expected x, got ids/);
    const decoder = zoo.build('model', { name: 'decoder', dim: 12, stack: { ...stack, layers: cross } });
    expect(() => run(decoder, { x })).toThrow(/without a memory/);
  });

  it('maps embeddings of another width', () => {
    const encoder = zoo.build('model', {
      name: 'encoder',
      dim: 12,
      embeddingDim: 5,
      embedding: { name: 'token', vocabSize: 19 },
      position: 'sine',
      stack,
    });
    expect(namesOf(encoder).parameters.get('embedding_projection.weight')!.dims).toEqual([12, 5]);
    expect(run(encoder, { ids: ids(2, 3, 19) }).hidden_states!.dims).toEqual([2, 3, 12]);
  });
});

describe('masked_lm', () => {
  it('has a transform and a head of the embedding with a bias', () => {
    const model = zoo.build('model', {
      name: 'masked_lm',
      dim: 12,
      vocabSize: 23,
      embedding: { name: 'vocab', seqLen: 11 },
      stack: { ...stack, depth: 0, norm: undefined },
    });
    expect(names(model)).toEqual([
      'embedding.word_embeddings.weight',
      'embedding.position_embeddings.weight',
      'transform.weight',
      'transform.bias',
      'norm.weight',
      'norm.bias',
      'head.bias',
    ]);
    expect(namesOf(model).aliases).toEqual(new Map([['head.weight', 'embedding.word_embeddings.weight']]));
    expect(run(model, { ids: ids(2, 5) }).logits!.dims).toEqual([2, 5, 23]);
  });
});

describe('classifier', () => {
  const config = { name: 'classifier', dim: 12, classes: 5, stack } as const;
  const x = randomArray('x', [2, 7, 12]);
  const cut = (count: number): NDArray => ({ dtype: 'float32', dims: [1, count, 12], data: x.data.slice(0, count * 12) });

  it.each(['first', 'mean'] as const)('pools by %s; padding does not count', (pooling) => {
    const model = zoo.build('model', { ...config, pooling });
    const { of } = randomParameters(model);
    const alone = run(model, { x: cut(3) }, of).logits!;
    const padded = (mask: Readonly<Record<string, NDArray>>) => run(model, { x: cut(7), ...mask }, of).logits!;
    expectClose(padded({ lengths: numbers([1], () => 3) }), alone);
    expectClose(padded({ attention_mask: numbers([1, 7], (i) => Number(i < 3)) }), alone);
    expect(() => expectClose(padded({}), alone)).toThrow(/differ/);
  });

  it('returns the bias of its head for an empty sequence', () => {
    const model = zoo.build('model', config);
    const { of, byName } = randomParameters(model);
    const { logits } = run(model, { x, lengths: numbers([2], (i) => 7 * i) }, of);
    expect(Array.from(logits!.data.subarray(0, 5))).toEqual(Array.from(byName['head.bias']!.data));
  });

  it.each(['first', 'mean'] as const)('pools packed batches by %s: each sequence as alone, an empty one as zeros', (pooling) => {
    const model = zoo.build('model', { ...config, pooling });
    const { of, byName } = randomParameters(model);
    const lengths = [3, 0, 7, 1];
    const rows = randomArray('rows', [11, 12]);
    const graph = traceBlock(model, { x: ['float32', ['tokens', 12]], lengths: ['int64', ['batch']] }, { layout: 'packed' });
    const feeds = { x: rows, lengths: numbers([4], (i) => lengths[i]!) };
    const derived = derivedOf(graph, feeds, { tokens: 11, batch: 4, longest_of_lengths: 7 });
    const { logits } = interpret(graph, { ...feeds, ...derived }, { parameters: of });
    lengths.forEach((n, i) => {
      const at = lengths.slice(0, i).reduce((a, b) => a + b, 0);
      const own: NDArray = { dtype: 'float32', dims: [1, n, 12], data: rows.data.slice(12 * at, 12 * (at + n)) };
      const expected = n ? run(model, { x: own }, of).logits!.data : byName['head.bias']!.data;
      expectClose(
        { ...logits!, dims: [5], data: logits!.data.slice(5 * i, 5 * i + 5) },
        { dtype: 'float32', dims: [5], data: expected },
      );
    });
  });
});

describe('stack', () => {
  it('makes a new module for each layer, or accepts a list of modules', () => {
    const { parameters } = namesOf(zoo.build('stack', { ...stack, dim: 12, depth: 3 }));
    expect(new Set(parameters.values()).size).toBe(parameters.size);
    expect([...parameters.keys()].filter((name) => name.endsWith('q_proj.weight'))).toHaveLength(3);
    const mixed = zoo.build('stack', {
      name: 'stack',
      dim: 12,
      depth: 2,
      layers: [layer, { name: 'post_norm', feedforward: 'glu' }],
    });
    expect(zoo.toJSON(mixed)).toMatchObject({
      layers: [{ name: 'pre_norm' }, { name: 'post_norm', feedforward: { name: 'glu' } }],
    });
  });

  it('without layers is its norm, or the identity', () => {
    const x = randomArray('x', [2, 3, 12]);
    expectClose(run(zoo.build('stack', { name: 'stack', dim: 12, depth: 0, layers: layer }), { x }).y!, x);
  });

  it('refuses a list that is too short', () => {
    expect(() => zoo.build('stack', { name: 'stack', dim: 12, depth: 3, layers: [layer, layer] })).toThrow(
      /stack\.layers\[2\]: no config for layer 2; expected a list of at least 3, got a list of 2/,
    );
  });
});
