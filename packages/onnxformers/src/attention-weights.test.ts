// Weights of attention as outputs of a model: every mechanism that has them, under every mask that it accepts.
import { nameOf } from '@onnxformers/core/lowering';
import { expectClose, randomArray, randomParameters } from '@onnxformers/core/testing';
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import {
  type AnyBlock,
  type AnyModule,
  type CompileOptions,
  ConfigError,
  compile,
  createRunner,
  explain,
  inputsOf,
  interpret,
  type NDArray,
  printExplanation,
  type Target,
  targets,
  toArray,
  toTensor,
  zoo,
} from './index';

const [batch, seq, dim, heads, seqLen] = [3, 7, 10, 2, 11];
const ints = (dims: readonly number[], data: readonly number[], dtype: 'int64' | 'bool' = 'int64'): NDArray => ({
  dtype,
  dims,
  data: Float64Array.from(data),
});
type Declared = CompileOptions['inputs'];
interface Masked {
  readonly causal?: boolean;
  readonly inputs?: Declared;
  readonly feeds?: Readonly<Record<string, NDArray>>;
  readonly layout?: 'packed';
}
/** Ways to hide keys. One sequence is empty, so that its queries see nothing. */
const masks: Readonly<Record<string, Masked>> = {
  none: {},
  causal: { causal: true },
  lengths: { inputs: { lengths: ['int64', ['batch']] }, feeds: { lengths: ints([batch], [5, 0, 7]) } },
  'causal, lengths': { causal: true, inputs: { lengths: ['int64', ['batch']] }, feeds: { lengths: ints([batch], [5, 0, 7]) } },
  'key padding on the left': {
    inputs: { attention_mask: ['int64', ['batch', 'seq']] },
    feeds: {
      attention_mask: ints(
        [batch, seq],
        Array.from({ length: batch * seq }, (_, i) => (i % seq >= 2 ? 1 : 0)),
      ),
    },
  },
  'a dense mask': {
    inputs: { pairs: ['bool', ['batch', heads, 'seq', 'seq'], 'denseMask'] },
    feeds: {
      pairs: ints(
        [batch, heads, seq, seq],
        Array.from({ length: batch * heads * seq * seq }, (_, i) => (Math.floor(i / seq) % 5 && (i * 7) % 3 ? 1 : 0)),
        'bool',
      ),
    },
  },
  packed: { layout: 'packed', inputs: { lengths: ['int64', ['batch']] }, feeds: { lengths: ints([batch], [2, 0, 5]) } },
};

const definitions = new Map<string, AnyBlock['definition']>(
  zoo.blocks.filter((b) => b.kind === 'attention').map((b) => [b.blockName, b.definition]),
);
// The cells of an image are not a sequence of any length.
const mechanisms = [...definitions].filter(([, { fields }]) => !('grid' in fields)).map(([name]) => name);
/** Mechanisms with several softmaxes or in a branch; what a tap of their weights is refused with. */
const divided = ['nystrom', 'orthoformer', 'differential'];
/** Mechanisms whose weights are not those of one softmax over keys. */
const without = ['favor', 'lambda', 'talking_heads', 'sigmoid_attention'];
const withWeights = mechanisms.filter((name) => !divided.includes(name) && !without.includes(name));
const block = (attention: string, causal = false): AnyModule => {
  const own = definitions.get(attention)!.fields;
  const config = { name: attention, ...(causal && 'causal' in own && { causal }) };
  return zoo.parse('mixer', { name: 'multi_head', dim, heads, seqLen, attention: config }) as unknown as AnyModule;
};

/** A model for a mask; undefined where the mechanism refuses the mask. */
function compiled(name: string, mask: Masked, target: Target, taps: readonly string[] = ['attention.weights']) {
  const m = block(name, mask.causal);
  if (mask.causal && !('causal' in definitions.get(name)!.fields)) return undefined;
  const { byName } = randomParameters(m);
  const weights = new Map(Object.entries(byName).map(([path, array]) => [path, toTensor(array)]));
  const x: Declared = { x: ['float32', mask.layout ? ['tokens', dim] : ['batch', 'seq', dim]] };
  const { layout } = mask;
  try {
    return compile(m, { target, inputs: { ...x, ...mask.inputs }, weights, taps, ...(layout && { layout }) });
  } catch (error) {
    if (error instanceof ConfigError && /does not support the mask/.test(error.message)) return undefined;
    throw error;
  }
}
type Compiled = NonNullable<ReturnType<typeof compiled>>;
const feedsOf = (mask: Masked): Record<string, NDArray> => ({
  x: randomArray('x', mask.layout ? [seq, dim] : [batch, seq, dim]),
  ...mask.feeds,
});
async function ran(model: Compiled, feeds: Readonly<Record<string, NDArray>>): Promise<Record<string, NDArray>> {
  const run = await createRunner(model, ort);
  const got = await run(Object.fromEntries(Object.entries(feeds).map(([name, array]) => [name, toTensor(array)])));
  await run.dispose();
  return Object.fromEntries(Object.entries(got).map(([name, t]) => [name, toArray(t)]));
}

/** The derived inputs of a packed model, for the lengths [2, 0, 5]. */
function derivedFor({ traced }: Compiled): Record<string, NDArray> {
  const known: Readonly<Record<string, NDArray>> = {
    offsets_of_lengths: ints([batch + 1], [0, 2, 2, 7]),
    tokenOffset_of_lengths: { ...ints([batch, 5], [0, 1, 10, 11, 12, 13, 14, 2, 3, 4, 5, 6, 7, 8, 9]), dtype: 'int32' },
  };
  const names = traced.inputs.map(nameOf);
  return Object.fromEntries(Object.entries(known).filter(([name]) => names.includes(name)));
}

const cases = withWeights.flatMap((name) => Object.keys(masks).map((mask) => [name, mask] as const));
const tried = new Map<string, number>();
const notSupported: string[] = [];

describe('weights', () => {
  it.each(cases)('of %s, mask: %s', async (name, maskName) => {
    const mask = masks[maskName]!;
    const fused = compiled(name, mask, targets.cpu);
    if (!fused) {
      notSupported.push(`${name}: ${maskName}`);
      return;
    }
    tried.set(name, (tried.get(name) ?? 0) + 1);
    const feeds = feedsOf(mask);
    const { of } = randomParameters(fused.module);
    const expected = interpret(fused.traced, { ...feeds, ...derivedFor(fused) }, { parameters: of });
    const plain = compiled(name, mask, targets.cpu, [])!;
    const untapped = interpret(
      plain.traced,
      { ...feeds, ...derivedFor(plain) },
      { parameters: randomParameters(plain.module).of },
    );
    expect(untapped.y!.data).toEqual(expected.y!.data);
    const w = expected['attention.weights']!;
    // Of a mechanism that runs on padded rows, the weights are those of a padded batch.
    const padded = 'tokenOffset_of_lengths' in derivedFor(fused);
    expect(w.dims.slice(0, 3)).toEqual(padded ? [batch, heads, 5] : [mask.layout ? 1 : batch, heads, seq]);
    const keys = w.dims[3]!;
    for (let row = 0; row < w.data.length / keys; row++) {
      const own = w.data.subarray(row * keys, (row + 1) * keys);
      const sum = own.reduce((a, b) => a + b, 0);
      expect(sum === 0 ? own.every((e) => e === 0) : Math.abs(sum - 1) < 1e-12).toBe(true);
    }
    for (const model of [fused, compiled(name, mask, targets.portable(18))!]) {
      const got = await ran(model, feeds);
      for (const output of ['y', 'attention.weights'])
        expectClose(got[output]!, expected[output]!, { atol: 1e-5, rtol: 1e-5 }, `${model.target.name}: ${output}`);
      for (const [i, e] of w.data.entries()) if (e === 0) expect(got['attention.weights']!.data[i]).toBe(0);
    }
  });

  it('were compared for every mechanism, and skipped only for masks that a mechanism refuses', () => {
    for (const name of withWeights) expect(tried.get(name), name).toBeGreaterThan(0);
    expect(notSupported).toMatchSnapshot();
  });

  it('do not change a model without taps', () => {
    const kernels = (taps: readonly string[]) =>
      compiled('scaled_dot_product', {}, targets.cpu, taps)!.graph.nodes.map((n) => n.op.key);
    expect(kernels([])).toContain('com.microsoft.MultiHeadAttention');
    expect(kernels(['attention.weights'])).not.toContain('com.microsoft.MultiHeadAttention');
    expect(kernels(['attention'])).toContain('com.microsoft.MultiHeadAttention');
  });

  it('are explained: what they cost, and the kernels that do not return them', () => {
    const text = printExplanation(explain(compiled('scaled_dot_product', {}, targets.cpu)!));
    expect(text).toMatchSnapshot();
  });
});

describe('models without such weights', () => {
  const tap = (m: AnyModule, path: string) => () => compile(m, { target: targets.cpu, inputs: inputsOf(m), taps: [path] });

  it.each(divided)('%s is refused, because it has no single matrix', (name) => {
    expect(tap(block(name), 'attention.weights')).toThrow(
      'taps: "attention.weights" is not one matrix: the attention there is computed in several steps, or in a branch or a loop',
    );
  });
  it.each(without)('%s reports that there are none', (name) => {
    expect(tap(block(name), 'attention.weights')).toThrow(/no attention that has weights ran at "attention"/);
  });
  it('mixers without attention report that there is none', () => {
    const m = zoo.build('mixer', { name: 'fourier_mix', dim }) as unknown as AnyModule;
    expect(tap(m, 'weights')).toThrow(/no attention that has weights ran at "".*No attention of this model has weights/s);
  });
  it('a wrong path gets those that exist', () => {
    const m = block('scaled_dot_product');
    expect(tap(m, 'attention.weight')).toThrow(/no module called "attention.weight" ran.*Did you mean "attention.weights"/s);
    expect(tap(m, 'mixer.weights')).toThrow(/no attention that has weights ran at "mixer".*Taps of weights: attention.weights/s);
  });
});
