import {
  and,
  ConfigError,
  causal,
  compile,
  createRunner,
  interpret,
  LoweringError,
  type Mask,
  module,
  type NDArray,
  none,
  not,
  or,
  type SequenceContext,
  slidingWindow,
  standalone,
  type Target,
  type Tensor,
  targets,
  toTensor,
  type Value,
  withContext,
} from '@onnxformers/core';
import { maskKinds } from '@onnxformers/core/lowering';
import { expectClose, randomArray, randomParameters, runBlock, traceBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { linformer } from '../low-rank/linformer';
import { nystrom } from '../low-rank/nystrom';
import { fourierMix } from '../mixers/fourier-mix';
import { multiHead } from '../mixers/multi-head';
import { attention, perHead } from '../plain.test-helper';
import { scaledDotProduct } from '../softmax/scaled-dot-product';
import { local } from '../sparse/local';
import { attendCases, feedsOf, inputsOf, modelOf, sizes, tensorsOf } from './attend-cases.test-helper';
import { kernels } from './index';
import { runtimes } from './runtimes.test-helper';
import { ownDilated, ownDilatedAllows, ownPrefix, ownPrefixAllows } from './unknown-mask.test-helper';

const unknown: readonly (readonly [string, Mask<never>])[] = [
  ['ownPrefix', ownPrefix(3)],
  ['ownDilated', ownDilated(2)],
];

describe.each([
  ['ownPrefix', ownPrefix(3), ownPrefixAllows(3, 4)],
  ['ownDilated', ownDilated(2), ownDilatedAllows(2, 4)],
] as const)('%s, in its definition', (_, mask, allows) => {
  const feeds = { q: randomArray('q', [2, 4, 7, 3]), k: randomArray('k', [2, 2, 11, 3]), v: randomArray('v', [2, 2, 11, 5]) };
  const expected = (allowed: (i: number, j: number) => boolean): NDArray =>
    perHead(feeds.q, feeds.k, feeds.v, (q, k, v) => attention(q, k, v, allowed));
  const run = (m: Mask<never>): NDArray => runBlock(scaledDotProduct({}), feeds, { mask: m }).outputs.y!;

  it('agrees with plain loops', () => expectClose(run(mask), expected(allows)));
  it('is so under and, or and not', () => {
    expectClose(
      run(and(mask, causal)),
      expected((i, j) => allows(i, j) && j <= i + 4),
    );
    expectClose(
      run(or(mask, slidingWindow({ left: 1 }))),
      expected((i, j) => allows(i, j) || j >= i + 3),
    );
    expectClose(
      run(not(mask)),
      expected((i, j) => !allows(i, j)),
    );
  });
  it('is so together with the window of a mechanism', () => {
    const y = runBlock(local({ window: 3 }), feeds, { mask }).outputs.y!;
    expectClose(
      y,
      expected((i, j) => allows(i, j) && Math.abs(i + 4 - j) <= 1),
    );
  });
});

// Every kernel, through every rule by itself and all of them together.
const natures = [
  'encoder',
  'encoder, lengths',
  'encoder, keys',
  'encoder, bias',
  'encoder, grouped',
  'encoder, window',
  'cross',
  'causal',
  'causal, grouped, lengths',
  'causal, fewer queries',
  'causal, one query',
  'causal, window',
  'causal, softcap',
  'causal, sinks',
  'cache',
  'fixed cache',
  'turned, grouped',
];
describe.each(unknown)('%s with masks that kernels support', (name, mask) => {
  it.each(natures)('%s', async (nature) => {
    const found = attendCases.find((each) => each.name === nature)!;
    const c: typeof found = {
      ...found,
      options: (inputs) => {
        const options = found.options(inputs);
        return { ...options, mask: and(options.mask, mask) };
      },
    };
    const model = modelOf(c);
    const feeds = feedsOf(c);
    const compiledFor = (target: Target, some: readonly (typeof kernels)[number][]) =>
      compile(model, {
        target,
        rules: some,
        inputs: inputsOf(c),
        assumptions: ['prefill into empty cache', 'no empty sequences'],
      });
    for (const target of [targets.cpu, targets.wasm, targets.portable(21)]) {
      const compiled = compiledFor(target, kernels);
      const expected = interpret(compiled.traced, feeds);
      const run = await createRunner(compiled, runtimes[target.name]!, { session: { graphOptimizationLevel: 'disabled' } });
      const got: Record<string, Tensor> = await run(tensorsOf(feeds));
      await run.dispose();
      for (const [output, y] of Object.entries(expected))
        expectClose(got[output]!, y, { atol: 2e-6, rtol: 2e-6 }, `${target.name}: ${output}`);
    }
    // Each rule by itself, by the definitions of its kernel.
    let applied = 0;
    for (const target of [targets.cpu, targets.cuda, targets.webgpu])
      for (const rule of kernels) {
        const { graph, traced, decisions } = compiledFor(target, [rule]);
        if (!decisions.some(({ chosen }) => chosen === rule.name)) continue;
        applied++;
        const derived = Object.fromEntries(
          graph.inputs.flatMap(({ leaf }) =>
            leaf?.kind === 'derived' && leaf.how === 'longest'
              ? [[leaf.name, { dtype: 'int32', dims: [], data: Float64Array.of(sizes.seq) } as NDArray]]
              : [],
          ),
        );
        const [got, expected] = [interpret(graph, { ...feeds, ...derived }), interpret(traced, feeds)];
        for (const output of Object.keys(expected)) expectClose(got[output]!, expected[output]!, { atol: 1e-6 }, rule.name);
      }
    // As a tensor or a bias over all pairs; no kernel has softcap or sinks beside those.
    if (nature !== 'causal, sinks') expect(applied).toBeGreaterThan(0);
  });
  it('is named by the refusal of a kernel that knows only its own masks', () => {
    const c = attendCases.find((each) => each.name === 'causal')!;
    const model = modelOf({ ...c, options: () => ({ mask: and(causal, mask) }) });
    const { decisions } = compile(model, { target: targets.cpu, rules: kernels, inputs: inputsOf(c) });
    const { refused } = decisions.find((d) => d.op === 'onnxformers.Attend')!;
    expect(refused).toContainEqual(
      expect.objectContaining({
        rule: 'Attend → GroupQueryAttention',
        reason: expect.objectContaining({ code: 'maskNotExpressible', data: { mask: name, kinds: [name] } }),
      }),
    );
  });
});

describe.each(unknown)('%s in packed batches and pools', (name, mask) => {
  const dim = 16;
  const masked = (m: ReturnType<typeof standalone>) =>
    module(
      m.children,
      (inputs: Readonly<Record<string, Value>>, ctx: SequenceContext) =>
        m.forward(inputs, withContext(ctx, { mask: and(ctx.mask, mask) })),
      m.about,
    );
  const block = (isCausal: boolean) =>
    masked(standalone(multiHead({ dim, heads: 2, attention: scaledDotProduct({ causal: isCausal }) })));

  it('packed sequences agree with each sequence by itself', async () => {
    const lengths = [4, 1, 7, 2];
    const tokens = 14;
    const inputs = { x: ['float32', ['tokens', dim]], lengths: ['int64', ['batch']] } as const;
    const m = block(false);
    const { byName, of } = randomParameters(m);
    const weights = new Map(Object.entries(byName).map(([key, array]) => [key, toTensor(array)]));
    const x = randomArray('x', [tokens, dim]);
    const given = { x, lengths: { dtype: 'int64', dims: [4], data: Float64Array.from(lengths) } } as const;
    const model = compile(m, { target: targets.cpu, layout: 'packed', inputs, weights });
    const run = await createRunner(model, runtimes.cpu!);
    const y = (await run(tensorsOf(given))).y!;
    await run.dispose();
    let from = 0;
    for (const length of lengths) {
      const part: NDArray = {
        dtype: 'float32',
        dims: [1, length, dim],
        data: x.data.subarray(from * dim, (from + length) * dim),
      };
      const alone = interpret(traceBlock(m, { x: ['float32', [1, length, dim]] }), { x: part }, { parameters: of }).y!;
      const rows = { ...y, dims: [1, length, dim], data: (y.data as Float32Array).slice(from * dim, (from + length) * dim) };
      expectClose(rows, alone, { atol: 2e-6, rtol: 2e-6 }, `${length} rows`);
      from += length;
    }
    const { refused } = compile(m, { target: targets.cuda, dtype: 'float16', layout: 'packed', inputs }).decisions.find(
      (d) => d.op === 'onnxformers.Attend',
    )!;
    expect(refused.filter((r) => r.rule.includes('PackedMultiHeadAttention')).map((r) => r.reason.data)).toContainEqual({
      mask: name,
      kinds: [name],
    });
  });

  it('a kernel over pools refuses it', () => {
    const o = {
      target: targets.cuda,
      dtype: 'float16',
      inputs: { x: ['float16', ['batch', 1, dim]] },
      state: { paged: { blocks: 8, blockSize: 16 } },
    } as const;
    // Nothing else on that target has rows in pools.
    expect(() => compile(block(true), o)).toThrow(LoweringError);
    const plain = standalone(multiHead({ dim, heads: 2, attention: scaledDotProduct({ causal: true }) }));
    expect(compile(plain, o).decisions.map((d) => d.chosen)).toContain('Attend(PagedAppend) → PagedAttention');
  });
});

describe.each(unknown)('%s in mechanisms', (name, mask) => {
  const shapes = { q: ['float32', [2, 2, 7, 8]], k: ['float32', [2, 2, 7, 8]], v: ['float32', [2, 2, 7, 8]] } as const;
  it.each([
    ['nystrom', nystrom({ landmarks: 3 }), shapes],
    ['nystrom beside lengths', nystrom({ landmarks: 3 }), { ...shapes, lengths: ['int64', [2]] }],
    ['linformer', linformer({ seqLen: 7 }), shapes],
    ['fourier_mix', fourierMix({ dim: 8 }), { x: ['float32', [2, 7, 8]] }],
  ] as const)('%s refuses it by name', (_, block, inputs) => {
    const attempt = (): unknown => traceBlock(block, inputs, { mask });
    expect(attempt).toThrow(ConfigError);
    expect(attempt).toThrow(name);
  });
  it('is a separate kind', () =>
    expect(maskKinds(and(mask, or(causal, not(mask)), none))).toEqual([name, 'or', 'causal', 'not']));
});
