import {
  ConfigError,
  causal,
  defineBlock,
  each,
  init,
  int,
  interpret,
  module,
  type NDArray,
  namesOf,
  Parameter,
  registry,
  type SequenceContext,
  type Value,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { expectClose, randomArray, randomParameters, runBlock, traceBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { nystrom } from '../low-rank/nystrom';
import { attention, byHand, merge, type Parameters_, perHead, projected, split } from '../plain.test-helper';
import { scaledDotProduct } from '../softmax/scaled-dot-product';
import { multiHead } from './multi-head';

const x = randomArray('x', [2, 5, 12]);

describe('multi_head', () => {
  it.each([
    { dim: 12, heads: 3 },
    { dim: 12, heads: 6, kvHeads: 2 },
    { dim: 12, heads: 2, kvHeads: 1, headDim: 5, valueHeadDim: 7, outDim: 11, bias: false },
    { dim: 12, heads: 2, queryBias: false, valueBias: false },
  ])('agrees with plain loops: %o', (config) => {
    const { outputs, parameters } = runBlock(multiHead(config), { x });
    expectClose(outputs.y!, byHand(x, parameters, config.heads, 'kvHeads' in config ? config.kvHeads! : config.heads));
  });

  it('names its parameters', () => {
    const dims = (config: Parameters<typeof multiHead>[0]) =>
      [...namesOf(multiHead(config)).parameters].map(([name, p]) => `${name} ${p.dims}`);
    expect(dims({ dim: 12, heads: 6, kvHeads: 2, headDim: 4, keyBias: false })).toEqual([
      'q_proj.weight 24,12',
      'q_proj.bias 24',
      'k_proj.weight 8,12',
      'v_proj.weight 8,12',
      'v_proj.bias 8',
      'o_proj.weight 12,24',
      'o_proj.bias 12',
    ]);
    expect(dims({ dim: 12, heads: 6, kvHeads: 2, fused: true, bias: false })).toEqual([
      'qkv_proj.weight 20,12',
      'o_proj.weight 12,12',
    ]);
  });

  it('stores queries, keys and values in one weight if fused', () => {
    const { outputs, parameters: p } = runBlock(multiHead({ dim: 12, heads: 6, kvHeads: 2, fused: true }), { x });
    const [weight, bias] = [p['qkv_proj.weight']!, p['qkv_proj.bias']!];
    const part = (first: number, count: number, n: number) => split(projected(x, weight, bias, first, count), n);
    const y = perHead(part(0, 12, 6), part(12, 4, 2), part(16, 4, 2), (qs, ks, vs) => attention(qs, ks, vs));
    expectClose(outputs.y!, projected(merge(y), p['o_proj.weight']!, p['o_proj.bias']));
    const packed = namesOf(multiHead({ dim: 12, heads: 6, kvHeads: 2, fused: true })).parameters.get('qkv_proj.weight')!.options
      .packed;
    expect(packed).toEqual([
      { rows: 12, role: 'query' },
      { rows: 4, role: 'key' },
      { rows: 4, role: 'value' },
    ]);
  });

  it('attends to a memory of its own width in cross attention', () => {
    const memory = randomArray('memory', [2, 7, 4]);
    const { outputs, parameters } = runBlock(multiHead({ dim: 12, heads: 3, cross: true, memoryDim: 4 }), { x, memory });
    expectClose(outputs.y!, byHand(x, parameters, 3, 3, memory));
    expect(() => runBlock(multiHead({ dim: 12, heads: 3, cross: true }), { x })).toThrow(/cross attention without a memory/);
  });

  // A rotation that multiplies queries by 2 and keys by 3: whom it was asked for shows in the result.
  const scaling = defineBlock({
    kind: 'rotaryEmbedding',
    name: 'scaling',
    summary: 'Scales.',
    fields: { dim: int({ doc: 'channels', inherit: true }) },
    examples: [{ dim: 4 }],
    create: () => (q: Value, k: Value) => [ops.mul(q, 2), ops.mul(k, 3)] as const,
  });
  it.each([false, true])('rotates queries and keys (cross attention: %s)', (cross) => {
    const memory = randomArray('memory', [2, 7, 12]);
    const block = multiHead({ dim: 12, heads: 3, cross, rotaryEmbedding: scaling({ dim: 4 }) });
    const { outputs, parameters: p } = runBlock(block, cross ? { x, memory } : { x });
    const scaled = (name: string, by: number) => {
      const parts = [`${name}.weight`, `${name}.bias`].map((part) => [
        part,
        { ...p[part]!, data: p[part]!.data.map((v) => by * v) },
      ]);
      return Object.fromEntries(parts) as Parameters_;
    };
    expectClose(outputs.y!, byHand(x, { ...p, ...scaled('q_proj', 2), ...scaled('k_proj', 3) }, 3, 3, cross ? memory : x));
  });

  // y = w ⊙ x / √Σx²
  const unit = defineBlock({
    kind: 'norm',
    name: 'unit',
    summary: 'Unit length.',
    fields: { dim: int({ doc: 'channels', min: 1 }) },
    examples: [{ dim: 4 }],
    create({ dim }) {
      const weight = new Parameter([dim], init.ones, { role: 'norm', part: 'weight' });
      return module({ weight }, (v: Value) => ops.mul(ops.div(v, ops.sqrt(ops.reduceSum(ops.mul(v, v), [-1]))), weight));
    },
  });
  it.each(['head', 'all'] as const)('normalises queries and keys over %s', (over) => {
    const sizes = over === 'head' ? [4, 4] : [24, 8];
    const block = multiHead({
      dim: 12,
      heads: 6,
      kvHeads: 2,
      headDim: 4,
      qkNormOver: over,
      qkNorm: (which) => unit({ dim: sizes[which]! }),
    });
    const { outputs, parameters: p } = runBlock(block, { x });
    const normed = (name: string, n: number) => {
      const rows = projected(x, p[`${name}_proj.weight`]!, p[`${name}_proj.bias`]);
      const weight = p[`${name}_norm.weight`]!.data;
      const width = weight.length;
      const data = rows.data.map((v, i) => {
        const first = i - (i % width);
        const length = Math.sqrt(rows.data.subarray(first, first + width).reduce((sum, u) => sum + u * u, 0));
        return (v / length) * weight[i % width]!;
      });
      return split({ ...rows, data }, n);
    };
    const v = split(projected(x, p['v_proj.weight']!, p['v_proj.bias']), 2);
    const y = perHead(normed('q', 6), normed('k', 2), v, (qs, ks, vs) => attention(qs, ks, vs));
    expectClose(outputs.y!, projected(merge(y), p['o_proj.weight']!, p['o_proj.bias']));
  });

  it('normalises each head with weights of its own', () => {
    const qkNorm = () => unit({ dim: 4 });
    const block = multiHead({ dim: 12, heads: 4, kvHeads: 2, headDim: 4, qkNormOver: 'eachHead', qkNorm });
    const { outputs, parameters: p } = runBlock(block, { x });
    const normed = (name: string, n: number) => {
      const rows = split(projected(x, p[`${name}_proj.weight`]!, p[`${name}_proj.bias`]), n);
      const data = rows.data.map((v, i) => {
        const first = i - (i % 4);
        const length = Math.sqrt(rows.data.subarray(first, first + 4).reduce((sum, u) => sum + u * u, 0));
        return (v / length) * p[`${name}_norm.norms.${Math.floor(i / (4 * x.dims[1]!)) % n}.weight`]!.data[i % 4]!;
      });
      return { ...rows, data };
    };
    const v = split(projected(x, p['v_proj.weight']!, p['v_proj.bias']), 2);
    const y = perHead(normed('q', 4), normed('k', 2), v, (qs, ks, vs) => attention(qs, ks, vs));
    expectClose(outputs.y!, projected(merge(y), p['o_proj.weight']!, p['o_proj.bias']));
  });

  it.each(['head', 'all'] as const)('limits queries, keys and values, after a norm over %s', (qkNormOver) => {
    const qkNorm = (which: number) => unit({ dim: qkNormOver === 'head' ? 4 : [16, 8][which]! });
    for (const normed of [undefined, { qkNorm, qkNormOver }]) {
      const block = multiHead({ dim: 12, heads: 4, kvHeads: 2, headDim: 4, clipQkv: 0.3, ...normed });
      const { outputs, parameters: p } = runBlock(block, { x });
      const part = (name: string, n: number) => {
        const rows = projected(x, p[`${name}_proj.weight`]!, p[`${name}_proj.bias`]);
        const weight = p[`${name}_norm.weight`]?.data;
        const data = rows.data.map((v, i) => {
          if (!weight) return v;
          const first = i - (i % weight.length);
          const length = Math.sqrt(rows.data.subarray(first, first + weight.length).reduce((sum, u) => sum + u * u, 0));
          return (v / length) * weight[i % weight.length]!;
        });
        expect(data.some((v) => Math.abs(v) > 0.3)).toBe(true);
        return split({ ...rows, data: data.map((v) => Math.min(Math.max(v, -0.3), 0.3)) }, n);
      };
      const y = perHead(part('q', 4), part('k', 2), part('v', 2), (qs, ks, vs) => attention(qs, ks, vs));
      // The bound is rounded to float32.
      const tolerance = { atol: 1e-7, rtol: 1e-7 };
      expectClose(outputs.y!, projected(merge(y), p['o_proj.weight']!, p['o_proj.bias']), tolerance);
    }
  });

  it.each(['channel', 'head'] as const)('gates the result of attention, for each %s', (gate) => {
    const { outputs, parameters: p } = runBlock(multiHead({ dim: 12, heads: 3, valueHeadDim: 5, gate, gateBias: false }), { x });
    const parts = (name: string) => split(projected(x, p[`${name}_proj.weight`]!, p[`${name}_proj.bias`]), 3);
    const y = perHead(parts('q'), parts('k'), parts('v'), (qs, ks, vs) => attention(qs, ks, vs));
    const gates = parts('gate');
    const width = gates.dims[3]!;
    expect(width).toBe(gate === 'head' ? 1 : 5);
    const data = y.data.map((e, i) => e / (1 + Math.exp(-gates.data[Math.floor(i / 5) * width + (width === 1 ? 0 : i % 5)]!)));
    expectClose(outputs.y!, projected(merge({ ...y, data }), p['o_proj.weight']!, p['o_proj.bias']));
  });

  describe('valueResidual', () => {
    const layers = defineBlock({
      kind: 'mixer',
      name: 'layers',
      summary: 'Mixers, one after another.',
      fields: { dim: int({ doc: 'channels' }), mixers: each('mixer', { doc: 'mixers' }) },
      examples: [],
      create({ mixers }) {
        const all = [0, 1, 2].map((i) => mixers(i));
        return module({ mixers: all }, (rows: Value, ctx: SequenceContext) => all.reduce((h, mixer) => mixer(h, ctx), rows));
      },
    });
    const { parse } = registry(layers, multiHead, scaledDotProduct);
    const build = (valueResidual: 'constant' | 'learned', more = {}) =>
      parse('mixer', { name: 'layers', dim: 12, mixers: { name: 'multi_head', heads: 3, valueResidual, ...more } });
    const expected = (p: Parameters_, sharesOf: (layer: number) => readonly number[]) => {
      let [rows, first]: (NDArray | undefined)[] = [x, undefined];
      for (const i of [0, 1, 2]) {
        const of = (name: string, from: NDArray) =>
          projected(from, p[`mixers.${i}.${name}_proj.weight`]!, p[`mixers.${i}.${name}_proj.bias`]);
        const values = of('v', rows!);
        first ??= values;
        const [a, b] = sharesOf(i) as [number, number];
        const mixed = { ...values, data: values.data.map((e, j) => (i === 0 ? e : a * first!.data[j]! + b * e)) };
        const y = perHead(split(of('q', rows!), 3), split(of('k', rows!), 3), split(mixed, 3), (q, k, v) => attention(q, k, v));
        rows = of('o', merge(y));
      }
      return rows!;
    };

    it('adds the values of the first layer to those of the others', () => {
      const { outputs, parameters } = runBlock(build('constant', { valueShares: [0.25, 0.5] }), { x });
      expectClose(
        outputs.y!,
        expected(parameters, () => [0.25, 0.5]),
      );
      expect(Object.keys(parameters).filter((name) => name.includes('residual'))).toEqual([]);
    });

    it('learns both factors, except in the first layer', () => {
      const { outputs, parameters: p } = runBlock(build('learned'), { x });
      const share = (i: number, name: string) => p[`mixers.${i}.value_residual.${name}`]!.data[0]!;
      expectClose(
        outputs.y!,
        expected(p, (i) => (i === 0 ? [] : [share(i, 'first'), share(i, 'own')])),
      );
      expect(Object.keys(p).filter((name) => name.includes('residual'))).toHaveLength(4);
    });

    it('refuses other sizes than those of the first layer, and a memory', () => {
      const mixers = [3, 3, 2].map((heads) => ({ name: 'multi_head', heads, valueResidual: 'constant' }));
      expect(() => runBlock(parse('mixer', { name: 'layers', dim: 12, mixers }), { x })).toThrow(
        /valueResidual: the values of the first layer have other sizes; expected \[2, 2, 5, 6\], got \[2, 3, 5, 4\]/,
      );
      expect(() => multiHead({ dim: 12, heads: 3, cross: true, valueResidual: 'learned' })).toThrow(
        /multi_head\.valueResidual: the values of cross attention are those of the memory/,
      );
    });
  });

  // A bias that hides all keys but the first: its sum with that of the context decides.
  const firstOnly = defineBlock({
    kind: 'attentionBias',
    name: 'first_only',
    summary: 'Sees the first key.',
    fields: {},
    examples: [{}],
    create: () => (q: Value, k: Value, _: SequenceContext) => {
      const g = q.graph;
      const row = g.constant({ dtype: 'float32', dims: [5], data: Float32Array.of(0, -1e4, -1e4, -1e4, -1e4) });
      return ops.expand(ops.reshape(row, [1, 1, 1, 5]), [1, 3, q.dims[2]!, k.dims[2]!]);
    },
  });
  it('adds the bias of its slot to that of the context', () => {
    const block = multiHead({ dim: 12, heads: 3, attentionBias: firstOnly({}) });
    const { outputs, parameters: p } = runBlock(block, { x });
    const v = split(projected(x, p['v_proj.weight']!, p['v_proj.bias']), 3);
    const onlyFirst = perHead(v, v, v, (_, __, vs) => vs.map(() => vs[0]!));
    expectClose(outputs.y!, projected(merge(onlyFirst), p['o_proj.weight']!, p['o_proj.bias']));
    const lifted: NDArray = {
      dtype: 'float32',
      dims: [1, 3, 5, 5],
      data: Float64Array.from({ length: 75 }, (_, i) => (i % 5 === 2 ? 2e4 : 0)),
    };
    const third = perHead(v, v, v, (_, __, vs) => vs.map(() => vs[2]!));
    expectClose(
      runBlock(block, { x, attention_bias: lifted }).outputs.y!,
      projected(merge(third), p['o_proj.weight']!, p['o_proj.bias']),
    );
  });

  it('drops channels of the output while training', () => {
    const graph = traceBlock(
      multiHead({ dim: 12, heads: 3, dropout: 0.3 }),
      { x: ['float32', ['batch', 'seq', 12]] },
      { training: true },
    );
    expect(graph.inputs.filter((v) => v.leaf?.kind === 'draw').map((v) => v.dims)).toEqual([['batch', 'seq', 12]]);
  });

  it.each([
    [
      { dim: 10, heads: 3 },
      'the number of channels is not a multiple of the number of heads; expected a divisor of dim = 10, got 3',
    ],
    [
      { dim: 12, heads: 6, kvHeads: 4 },
      'multi_head.kvHeads: heads is not a multiple of kvHeads; expected a divisor of heads = 6, got 4',
    ],
    [
      { dim: 12, heads: 3, fused: true, cross: true },
      'cross attention projects queries and keys from different inputs, so they cannot share one weight',
    ],
    [{ dim: 12, heads: 3, fused: true, keyBias: false }, 'the fused projection has either one bias or none'],
  ])('refuses %o', (config, message) => {
    expect(() => multiHead(config)).toThrow(ConfigError);
    expect(() => multiHead(config)).toThrow(message);
  });
});

describe('nystrom across to a memory', () => {
  const block = multiHead({ dim: 8, heads: 2, cross: true, attention: nystrom({ landmarks: 3 }) });
  const feeds = {
    x: randomArray('x', [2, 7, 8]),
    memory: randomArray('memory', [2, 7, 8]),
    memory_lengths: { dtype: 'int64', dims: [2], data: Float64Array.of(5, 7) },
  } as const;
  const traced = (memorySeq: string, lengths = {}) =>
    traceBlock(block, {
      x: ['float32', [2, 'seq', 8]],
      memory: ['float32', [2, memorySeq, 8]],
      memory_lengths: ['int64', [2]],
      ...lengths,
    });
  const run = (graph: ReturnType<typeof traced>, more = {}) =>
    interpret(graph, { ...feeds, ...more }, { parameters: randomParameters(block).of }).y!;

  it('is the same whatever the sizes are called', () => {
    expectClose(run(traced('seq')), run(traced('memory_seq')), { atol: 1e-9 });
  });

  it('excludes the padding of its queries from their landmarks', () => {
    const lengths = { dtype: 'int64', dims: [2], data: Float64Array.of(5, 7) } as const;
    const graph = traced('memory_seq', { lengths: ['int64', [2]] });
    const changed = { ...feeds.x, data: feeds.x.data.map((e, i) => (i >= 5 * 8 && i < 7 * 8 ? 9 : e)) };
    const real = (y: NDArray) => y.data.filter((_, i) => i < 5 * 8 || i >= 7 * 8);
    const [before, after] = [run(graph, { lengths }), run(graph, { lengths, x: changed })];
    real(after).forEach((e, i) => {
      expect(e).toBeCloseTo(real(before)[i]!, 9);
    });
    const [all, others] = [run(traced('memory_seq')), run(traced('memory_seq'), { x: changed })];
    expect(Math.max(...real(others).map((e, i) => Math.abs(e - real(all)[i]!)))).toBeGreaterThan(1e-4);
  });

  it('is refused in a decoder, because earlier positions would depend on later ones', () => {
    const shapes = { x: ['float32', [2, 'seq', 8]], memory: ['float32', [2, 'memory_seq', 8]] } as const;
    expect(() => traceBlock(block, shapes, { mask: causal })).toThrow(
      /landmarks average over positions.*got queries under the mask causal/,
    );
  });
});
