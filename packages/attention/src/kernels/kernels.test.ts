import {
  compile,
  createRunner,
  interpret,
  type Machine,
  type NDArray,
  type Ort,
  type Target,
  type Tensor,
  targets,
  toTensor,
} from '@onnxformers/core';
import { type Rule, reasons } from '@onnxformers/core/lowering';
import { computeDerived, expectClose, randomArray, randomParameters } from '@onnxformers/core/testing';
import * as node from 'onnxruntime-node';
import * as web from 'onnxruntime-web';
import { describe, expect, it } from 'vitest';
import { multiHead } from '../mixers/multi-head';
import { scaledDotProduct } from '../softmax/scaled-dot-product';
import { type AttendCase, attendCases, derivedFeed, feedsOf, inputsOf, modelOf, tensorsOf } from './attend-cases.test-helper';
import { kernels } from './index';
import { PackedMultiHeadAttention, usePackedMultiHeadAttention } from './packed-multi-head-attention';
import { usePackedPagedAttention, usePagedWindow } from './packed-paged-attention';
import { usePaddedRows, useRestorePadding, useSlice } from './padded-rows';
import { usePagedAttention } from './paged-attention';

const strict = { session: { graphOptimizationLevel: 'disabled' } } as const;
web.env.wasm.numThreads = 1;
const runtimes = { cpu: node, wasm: web } as unknown as Readonly<Record<string, Ort>>;

function compiled(c: AttendCase, target: Target, rules: readonly Rule[] = kernels, machine: Machine = {}) {
  const model = modelOf(c);
  const weights = Object.entries(randomParameters(model).byName).map(([name, array]) => [name, toTensor(array)] as const);
  return compile(model, {
    weights: new Map(weights),
    target,
    machine,
    rules,
    inputs: inputsOf(c),
    assumptions: ['prefill into empty cache'],
  });
}
const choiceOf = (c: AttendCase, target: Target, rules?: readonly Rule[]) =>
  compiled(c, target, rules).decisions.find((d) => d.op === 'onnxformers.Attend' && d.chosen !== 'Attend → chunks of queries')!;

// Sixteen roundings of a sum of a dozen products of numbers below 1.
const tolerance = { atol: 2e-6, rtol: 2e-6 };

async function expectParity(c: AttendCase, target: Target, rules?: readonly Rule[]): Promise<void> {
  const model = compiled(c, target, rules);
  const feeds = feedsOf(c);
  const expected = interpret(model.traced, feeds, { parameters: randomParameters(model.module).of });
  const run = await createRunner(model, runtimes[target.name]!, strict);
  const got: Record<string, Tensor> = await run(tensorsOf(feeds));
  for (const name of Object.keys(expected)) expectClose(got[name]!, expected[name]!, tolerance, `${c.name}: ${name}`);
  await run.dispose();
}

describe.each([targets.cpu, targets.wasm])('$name', (target) => {
  it.each(attendCases.map((c) => [c.name, c] as const))('%s', async (_, c) => {
    await expectParity(c, target);
  });
});

// Pools of blocks and packed sequences have a kernel on GPUs only; what their rules make is compared in the interpreter, in padded-rows.test.ts and in packed-chunks.test.ts.
const elsewhere: readonly Rule[] = [
  usePagedAttention,
  usePagedWindow,
  usePackedMultiHeadAttention,
  usePackedPagedAttention,
  usePaddedRows,
  useRestorePadding,
  useSlice,
];
const here = kernels.filter((rule) => !elsewhere.includes(rule));
describe.each(here.map((rule) => [rule.name, rule] as const))('%s', (_, rule) => {
  it('computes what Attend means wherever it applies', async () => {
    const fitting = attendCases.filter((c) => choiceOf(c, targets.cpu, [rule]).chosen === rule.name);
    for (const c of fitting) await expectParity(c, targets.cpu, [rule]);
    expect(fitting.length).toBeGreaterThan(0);
  });
});

describe.each([
  [targets.cuda, 'float16', { sm: 90, cudnn: '9.14' }],
  [targets.cuda, 'float16', { sm: 80 }],
  [targets.cuda, 'float32', {}],
  [targets.webgpu, 'float32', {}],
] as const)('for $name in %s on %o, by the definitions of its kernels', (target, dtype, machine) => {
  it.each(attendCases.map((c) => [c.name, c] as const))('%s', (_, c) => {
    const model = modelOf(c);
    const { traced, graph } = compile(model, {
      target,
      machine,
      dtype,
      rules: kernels,
      inputs: inputsOf(c, dtype),
      assumptions: ['prefill into empty cache'],
    });
    const parameters = randomParameters(model).of;
    const like = (array: NDArray): NDArray => (array.dtype === 'float32' ? { ...array, dtype } : array);
    const feeds = Object.fromEntries(Object.entries(feedsOf(c)).map(([name, array]) => [name, like(array)]));
    const derived = Object.fromEntries(graph.inputs.flatMap((v) => derivedFeed(v, feeds)));
    const expected = interpret(traced, feeds, { parameters });
    const got = interpret(graph, { ...feeds, ...derived }, { parameters });
    // Constants are numbers of the dtype.
    for (const name of Object.keys(expected))
      expectClose(got[name]!, expected[name]!, dtype === 'float16' ? { atol: 2e-3 } : { atol: 1e-6 }, name);
  });
});

describe('packed sequences', () => {
  const dim = 16;
  const lengths = [4, 0, 7, 2];
  const compiledFor = (target: Target, o: { bias: boolean; causal?: boolean; taps?: readonly string[] }) => {
    const model = multiHead({ dim, heads: 2, bias: o.bias, attention: scaledDotProduct({ causal: o.causal ?? false }) });
    const inputs = { x: ['float32', ['tokens', dim]], lengths: ['int64', ['sequences']] } as const;
    return { model, ...compile(model, { target, layout: 'packed', inputs, taps: o.taps ?? [] }) };
  };
  const chosen = ({ decisions }: ReturnType<typeof compiledFor>) => decisions.find((d) => d.op === 'onnxformers.Attend')!;

  // Where something else reads the result of the attention, the bias of the values is part of it.
  it.each([
    [true, [], undefined],
    [true, ['attention'], "with the projections' biases"],
    [false, [], undefined],
  ])('are what each sequence is alone, with biases: %s, taps: %o', (bias, taps, variant) => {
    const compiled = compiledFor(targets.cuda, { bias, taps });
    expect(chosen(compiled).chosen).toBe(usePackedMultiHeadAttention.name);
    expect(chosen(compiled).variant).toBe(variant);
    expect(compiled.graph.nodes.filter((n) => n.op.key === PackedMultiHeadAttention.key)).toHaveLength(1);
    const { signature, model, graph, traced } = compiled;
    const parameters = randomParameters(model).of;
    const tokens = 13;
    const feeds = {
      x: randomArray('x', [tokens, dim]),
      lengths: { dtype: 'int64', dims: [4], data: Float64Array.from(lengths) },
    } as const;
    const offsets = { dtype: 'int64', dims: [5], data: Float64Array.from([0, 4, 4, 11, 13]) } as const;
    const { name } = signature.inputs.find((p) => p.derived?.how === 'tokenOffset')!;
    const places = computeDerived('tokenOffset', [feeds.lengths], () => 4, {
      dtype: 'int32',
      dims: ['sequences', 'longest_of_lengths'],
    })!;
    const all = { ...feeds, offsets_of_lengths: offsets };
    expectClose(interpret(graph, { ...all, [name]: places }, { parameters }).y!, interpret(traced, all, { parameters }).y!, {
      atol: 1e-6,
    });
  });

  it('have inputs and sizes of other names than those of the user', () => {
    const inputs = {
      x: ['float32', ['tokens', dim]],
      lengths: ['int64', ['sequences']],
      tokenOffset_of_lengths: ['int64', ['longest_of_lengths'], 'data'],
      offsets_of_lengths: ['int64', ['longest_of_lengths'], 'data'],
    } as const;
    const { signature } = compile(multiHead({ dim, heads: 2, bias: true }), { target: targets.cuda, layout: 'packed', inputs });
    const derived = signature.inputs.flatMap(({ name, dims, derived }) => (derived ? [[name, dims]] : []));
    expect(Object.fromEntries(derived)).toMatchObject({
      offsets_of_lengths_2: ['sequences + 1'],
      tokenOffset_of_lengths_2: ['sequences', 'longest_of_lengths_2'],
    });
  });

  it('are not changed where a query must not attend to later keys', () => {
    const { refused } = chosen(compiledFor(targets.cuda, { bias: true, causal: true }));
    expect(refused).toContainEqual({
      rule: usePackedMultiHeadAttention.name,
      reason: reasons.maskNotExpressible({ mask: 'causal', kinds: ['causal'] }),
    });
  });
  it('have no such kernel elsewhere', () => {
    for (const target of [targets.cpu, targets.wasm, targets.webgpu])
      expect(chosen(compiledFor(target, { bias: true })).refused).toContainEqual({
        rule: usePackedMultiHeadAttention.name,
        reason: reasons.noKernel({ op: 'com.microsoft.PackedMultiHeadAttention', target: target.name }),
      });
  });
});
