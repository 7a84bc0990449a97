// Half precision on the CPU, with blocks that do not know of it: error measured against float64 on the rounded weights.
import { multiHead, scaledDotProduct } from '@onnxformers/attention';
import {
  type CompileOptions,
  castTensor,
  compile,
  createRunner,
  embedding,
  explain,
  hiddenStatesOf,
  initialize,
  interpret,
  linear,
  type Model,
  type ModelDType,
  module,
  type NDArray,
  type Ort,
  printExplanation,
  type SequenceContext,
  serialize,
  type Target,
  type Tensor,
  targets,
  tensor,
  toArray,
  type Value,
} from '@onnxformers/core';
import { glu, mlp } from '@onnxformers/feedforward';
import { learnable, rotary } from '@onnxformers/positional';
import { layerNorm, preNorm, rmsNorm } from '@onnxformers/residual';
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';

const [vocab, dim, batch, seq, memorySeq] = [31, 24, 2, 13, 5];

/** Two layers of different make, the second with a memory. */
function network() {
  const embed = embedding(vocab, dim, { init: { kind: 'normal', std: 1 } });
  const place = learnable({ dim, seqLen: 17 });
  const attention = scaledDotProduct({ causal: true });
  const layers = [
    preNorm({
      dim,
      mixer: multiHead({ dim, heads: 6, kvHeads: 2, headDim: 8, rotaryEmbedding: rotary({ dim: 8 }), attention }),
      feedforward: glu({ dim, hidden: 89 }),
      norm: () => rmsNorm({ dim }),
    }),
    preNorm({
      dim,
      mixer: multiHead({ dim, heads: 3, attention }),
      cross: multiHead({ dim, heads: 3, cross: true }),
      feedforward: mlp({ dim, hidden: 97 }),
    }),
  ];
  const [norm, head] = [layerNorm({ dim }), linear(dim, vocab)];
  return module({ embed, place, layers, norm, head }, (inputs: Record<string, Value>, ctx: SequenceContext) => {
    const x = embed(inputs.ids!);
    return { logits: head(norm(layers.reduce((h, layer) => layer(h, ctx), hiddenStatesOf(place(x, ctx), x, ctx).hiddenStates))) };
  });
}

const model = network();
const ids = tensor(
  'int64',
  [batch, seq],
  Array.from({ length: batch * seq }, (_, i) => (3 * i * i + 5 * i) % vocab),
);
const memory = tensor(
  'float32',
  [batch, memorySeq, dim],
  Array.from({ length: batch * memorySeq * dim }, (_, i) => Math.sin(i * i)),
);
const memoryLengths = tensor('int64', [batch], [memorySeq, 3]);

const compiled = (
  target: Target,
  dtype: ModelDType,
  feed: 'float32' | 'float16',
  strictDtype = false,
  o: Pick<CompileOptions, 'parameters' | 'state'> = {},
): Model =>
  compile(model, {
    ...o,
    target,
    dtype,
    strictDtype,
    weights: initialize(model, { seed: 19 }),
    inputs: {
      ids: ['int64', ['batch', 'seq']],
      memory: [feed, ['batch', 'memory_seq', dim]],
      memory_lengths: ['int64', ['batch']],
    },
  });
const feedsOf = (feed: 'float32' | 'float16'): Record<string, Tensor> => ({
  ids,
  memory: castTensor(memory, feed),
  memory_lengths: memoryLengths,
});

/** The logits in float64, on weights rounded to the dtype. */
async function reference(dtype: ModelDType, feed: 'float32' | 'float16'): Promise<NDArray> {
  const { traced, names, weights } = compiled(targets.portable(), dtype, feed);
  const rounded = new Map<string, NDArray>();
  for (const [name, weight] of weights!) rounded.set(name, toArray(castTensor(await weight.load(), dtype)));
  const feeds = Object.fromEntries(Object.entries(feedsOf(feed)).map(([name, t]) => [name, toArray(t)]));
  return interpret(traced, feeds, { parameters: (p) => rounded.get(names.nameOf.get(p)!)! }).logits!;
}

async function logitsOf(m: Model, feed: 'float32' | 'float16', parameters: Record<string, Tensor> = {}): Promise<Tensor> {
  const run = await createRunner(m, ort as unknown as Ort, { session: { graphOptimizationLevel: 'disabled' } });
  const { logits } = await run({ ...feedsOf(feed), ...parameters });
  await run.dispose();
  return logits!;
}

const away = (a: Tensor, b: NDArray): number =>
  toArray(a).data.reduce((most, x, i) => Math.max(most, Math.abs(x - b.data[i]!)), 0);
const largest = ({ data }: NDArray): number => data.reduce((a, x) => Math.max(a, Math.abs(x)), 0);
/** The distance of numbers of that size in a dtype of so many bits behind the point. */
const ulp = (x: number, bits: number): number => 2 ** (Math.floor(Math.log2(x)) - bits);

describe('float16 on the CPU, insisted upon', () => {
  it('is at most 4 times as far from float64 as the plain graph in float16', async () => {
    const expected = await reference('float16', 'float16');
    const plain = away(await logitsOf(compiled(targets.portable(18), 'float16', 'float16'), 'float16'), expected);
    const step = ulp(largest(expected), 10);
    // Some forty roundings one after another, each of half a step, in the plain graph.
    expect(plain).toBeLessThan(20 * step);
    expect(plain).toBeGreaterThan(0);
    const model16 = compiled(targets.cpu, 'float16', 'float16', true);
    const logits = await logitsOf(model16, 'float16');
    expect(logits.dtype).toBe('float16');
    expect(away(logits, expected)).toBeLessThanOrEqual(Math.max(4 * plain, 4 * step));
    expect(model16.computes).toBe('float16');
    // Smaller ones may be widened when they are written.
    const large = serialize(model16).graph.initializers.filter((i) => i.dims.reduce((a, b) => a * b, 1) >= 89 * dim);
    expect(new Set(large.map((i) => i.dtype))).toEqual(new Set(['float16']));
  });
});

describe('float16 on the CPU', () => {
  it.each([targets.cpu, targets.wasm])('is weights in float16 and arithmetic in float32, which is faster: $name', (target) => {
    const model16 = compiled(target, 'float16', 'float32');
    expect([model16.dtype, model16.computes]).toEqual(['float16', 'float32']);
    const large = serialize(model16).graph.initializers.filter((i) => i.dims.reduce((a, b) => a * b, 1) >= 89 * dim);
    expect(new Set(large.map((i) => i.dtype))).toEqual(new Set(['float16']));
    expect(printExplanation(explain(model16))).toContain(
      `weights are stored in float16 and widened to float32: ${target.name} is slower in float16; strictDtype computes in it all the same`,
    );
  });
  it('has the numbers of float32 on rounded weights', async () => {
    const expected = await reference('float16', 'float32');
    const logits = await logitsOf(compiled(targets.cpu, 'float16', 'float32'), 'float32');
    expect(logits.dtype).toBe('float32');
    expect(away(logits, expected)).toBeLessThan(40 * ulp(largest(expected), 23));
  });
});

describe('bfloat16 on the CPU', () => {
  it('is weights in bfloat16 and arithmetic in float32', async () => {
    const expected = await reference('bfloat16', 'float32');
    const model16 = compiled(targets.cpu, 'bfloat16', 'float32');
    expect([model16.dtype, model16.computes]).toEqual(['bfloat16', 'float32']);
    const logits = await logitsOf(model16, 'float32');
    expect(logits.dtype).toBe('float32');
    const error = away(logits, expected);
    const step = ulp(largest(expected), 23);
    expect(error).toBeLessThan(40 * step);
    // The weights are rounded: on the whole ones the answer is another.
    expect(away(logits, await reference('float32', 'float32'))).toBeGreaterThan(100 * error);
  });

  // Below some thousand elements a weight may be widened when it is written.
  it('stores weights in two bytes for each number', () => {
    const large = serialize(compiled(targets.cpu, 'bfloat16', 'float32')).graph.initializers.filter(
      (i) => i.dims.reduce((a, b) => a * b, 1) >= 89 * dim,
    );
    expect(large.length).toBe(5);
    expect(large.filter((i) => i.dtype !== 'bfloat16').map((i) => i.name)).toEqual([]);
  });

  it('is an error with strictDtype', () => {
    expect(() => compiled(targets.cpu, 'bfloat16', 'float32', true)).toThrow(
      'cpu: cpu does not compute in bfloat16; expected float32 or float16 or float64, got bfloat16. Omit strictDtype to store the weights in it and compute in float32',
    );
  });

  it('cannot be fed', () => {
    expect(() => compiled(targets.cpu, 'bfloat16', 'bfloat16' as 'float32')).toThrow(
      'inputs.memory: no JavaScript runtime supports bfloat16',
    );
  });
});

describe('parameters in bfloat16 that are inputs', () => {
  const asInputs = (target: Target): Model => compiled(target, 'bfloat16', 'float32', false, { parameters: () => 'input' });
  const note = 'parameters in bfloat16 that are inputs are fed in float32, since no JavaScript runtime supports bfloat16';

  it('are fed in float32, and the answer is that of stored ones', async () => {
    const fed = asInputs(targets.cpu);
    const feeds: Record<string, Tensor> = {};
    for (const [name, weight] of initialize(model, { seed: 19 }))
      feeds[name] = castTensor(castTensor(await weight.load(), 'bfloat16'), 'float32');
    const expected = await reference('bfloat16', 'float32');
    expect(away(await logitsOf(fed, 'float32', feeds), expected)).toBeLessThan(40 * ulp(largest(expected), 23));
    expect(explain(fed).notes).toContain(note);
    expect(explain(compiled(targets.cpu, 'bfloat16', 'float32')).notes).not.toContain(note);
  });

  it('are cast inside the graph if the target computes in bfloat16', () => {
    const { signature, graph, computes } = asInputs(targets.cuda);
    expect(computes).toBe('bfloat16');
    const fed = signature.inputs.filter((p) => p.parameter);
    expect(fed.length).toBe(initialize(model, { seed: 19 }).size);
    expect(new Set(fed.map((p) => p.dtype))).toEqual(new Set(['float32']));
    const readers = graph.nodes.filter((n) => n.operands.some((v) => v?.leaf?.kind === 'parameter'));
    expect(new Set(readers.map((n) => `${n.op.key} to ${n.outputs[0]!.dtype}`))).toEqual(new Set(['Cast to bfloat16']));
    expect(explain(asInputs(targets.cuda)).notes).toContain(note);
  });
});

it('caches of a model in bfloat16 are float32 outside of it', () => {
  for (const state of ['io', { io: 19 }] as const) {
    const cached = compiled(targets.cuda, 'bfloat16', 'float32', false, { state });
    const { inputs, outputs } = cached.signature;
    const kept = [...inputs, ...outputs].filter((p) => /^(past_key_values|present)\./.test(p.name));
    expect(kept.length).toBe(2 * 2 * 3);
    expect(new Set(kept.map((p) => p.dtype))).toEqual(new Set(['float32']));
    expect(explain(cached).notes.join()).toContain('caches are inputs and outputs in float32');
  }
  const plain = compiled(targets.cuda, 'float16', 'float16', false, { state: 'io' });
  expect(plain.signature.inputs.find((p) => p.name === 'past_key_values.0.key')!.dtype).toBe('float16');
  expect(explain(plain).notes.join()).not.toContain('caches are fed');
});
