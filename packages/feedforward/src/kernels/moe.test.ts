import { type AnyModule, compile, module, type SequenceContext, targets, type Value } from '@onnxformers/core';
import { checkOnRuntime, lowerBlock } from '@onnxformers/core/testing';
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { glu, sparseMoe } from '../index';

const [dim, hidden] = [16, 24];
type Options = Omit<Parameters<typeof sparseMoe>[0], 'dim'>;
const block = (o: Options) => sparseMoe({ dim, hidden, ...o }) as unknown as AnyModule;
const inputs = { x: ['float32', ['batch', 'seq', dim]] } as const;
const kernelsOf = (graph: { readonly nodes: readonly { readonly op: { readonly key: string } }[] }) =>
  graph.nodes.map((n) => n.op.key).filter((key) => key === 'com.microsoft.MoE' || key === 'onnxformers.Experts');

const taken: readonly Options[] = [
  { experts: 3 },
  { experts: 5, topK: 3, normalize: false, bias: true },
  { experts: 5, topK: 1, activation: 'quick_gelu', bias: true, limit: 0.5, upOffset: 1, routerBias: true },
  { experts: 6, topK: 3, scores: 'sigmoid', correctionBias: true, groups: 3, topGroups: 2, scale: 2.5 },
  { experts: 4, topK: 2, gated: false, activation: 'relu', bias: true },
  { experts: 3, topK: 3, shared: glu({ dim, hidden: 7 }), sharedGate: true },
];

describe('MoE', () => {
  it.each(taken)('is the kernel of experts on cuda in float32, and computes the same: %o', (o) => {
    const { graph } = lowerBlock(block(o), inputs, targets.cuda, { sizes: { batch: 2, seq: 5 } });
    expect(kernelsOf(graph)).toEqual(['com.microsoft.MoE']);
  });

  it.each([
    ['cpu', targets.cpu, 'float32', 'overwritesRows'],
    ['wasm', targets.wasm, 'float32', 'overwritesRows'],
    ['cuda', targets.cuda, 'float16', 'expertsInFloat32'],
    ['cuda', targets.cuda, 'bfloat16', 'expertsInFloat32'],
  ] as const)('is refused on %s, where it is wrong or not checked', (_, target, dtype, code) => {
    const { graph, decisions } = compile(block({ experts: 3 }), { target, dtype, inputs });
    expect(kernelsOf(graph)).toEqual([]);
    expect(JSON.stringify(decisions)).toContain(`"${code}"`);
  });

  it('two layers of experts, one behind the other, compute the same by the runtime on the CPU', async () => {
    const [a, b] = [1, 2].map(() => sparseMoe({ dim, hidden, experts: 3 })) as [
      ReturnType<typeof sparseMoe>,
      ReturnType<typeof sparseMoe>,
    ];
    const two = module({ a, b }, (all: Readonly<Record<string, Value>>, ctx: SequenceContext) => ({ y: b(a(all.x!, ctx), ctx) }));
    await checkOnRuntime(two as unknown as AnyModule, inputs, targets.cpu, ort, { sizes: { batch: 2, seq: 5 } });
  });

  it.each<[Options, string, object]>([
    [{ experts: 3, activation: 'gelu' }, 'activation', { activation: 'gelu', gated: true }],
    [{ experts: 3, activation: 'silu', gated: false }, 'activation', { activation: 'silu', gated: false }],
    [{ experts: 3, activation: 'squared_relu', gated: false }, 'activation', { activation: 'squared_relu', gated: false }],
  ])('is refused: %o', (o, code, data) => {
    const { graph, decisions } = lowerBlock(block(o), inputs, targets.cpu, { sizes: { batch: 2, seq: 5 } });
    expect(kernelsOf(graph)).toEqual([]);
    expect(JSON.stringify(decisions)).toContain(code);
    for (const value of Object.values(data)) expect(JSON.stringify(decisions)).toContain(JSON.stringify(value));
  });

  it.each([18, 8])('is refused on cuda for %i channels: rows that do not fill 16 bytes, or are too short', (dim) => {
    const odd = sparseMoe({ dim, hidden: 24, experts: 3 }) as unknown as AnyModule;
    const sizes = { batch: 2, seq: 5 };
    const { graph, decisions } = lowerBlock(odd, { x: ['float32', ['batch', 'seq', dim]] }, targets.cuda, { sizes });
    expect(kernelsOf(graph)).toEqual([]);
    expect(JSON.stringify(decisions)).toContain('"rowsOfExperts"');
  });

  it('computes nothing for no rows', async () => {
    await checkOnRuntime(block({ experts: 3 }), inputs, targets.cpu, ort, { sizes: { batch: 2, seq: 0 } });
  });
});
