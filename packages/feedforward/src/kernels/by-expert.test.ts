import { type AnyModule, type Graph, type Node, type Ort, targets } from '@onnxformers/core';
import { checkOnRuntime, lowerBlock } from '@onnxformers/core/testing';
import * as node from 'onnxruntime-node';
import * as web from 'onnxruntime-web';
import { describe, expect, it } from 'vitest';
import { mixtureOfExperts, silu, sparseMoe } from '../index';

const [dim, hidden] = [7, 11];
// Numbers of an older opset's definitions are float32.
const rounded = { atol: 1e-7, rtol: 1e-7 };
const inputs = { x: ['float32', ['batch', 'seq', dim]] } as const;
const cut = (graph: Graph): readonly Node[] => graph.nodes.filter(({ op }) => op.key === 'TopK');
const lowered = (m: unknown, target = targets.cpu) =>
  lowerBlock(m as AnyModule, inputs, target, { sizes: { batch: 2, seq: 5 }, tolerance: rounded });

describe('experts one after another', () => {
  const blocks = {
    gated: sparseMoe({ dim, hidden, experts: 5, topK: 3, bias: true, limit: 0.5, upOffset: 1, activation: 'quick_gelu' }),
    plain: sparseMoe({ dim, hidden, experts: 3, topK: 1, gated: false, activation: 'squared_relu' }),
    'top_2 of a mixture': mixtureOfExperts({ dim, hidden, experts: 5 }),
    'top_1 of a mixture': mixtureOfExperts({ dim, hidden, experts: 3, gate: 'top_1', bias: false, activation: silu({}) }),
  };
  const machines = { 'portable-18': targets.portable(18), cpu: targets.cpu, wasm: targets.wasm };
  const cases = Object.entries(blocks).flatMap(([name, m]) =>
    Object.entries(machines).map(([on, target]) => [name, on, m, target] as const),
  );

  it.each(cases)('%s on %s: the runtime computes what the definition says', async (_, on, m, target) => {
    expect(cut(lowered(m, target).graph).length).toBeGreaterThanOrEqual(3);
    const ort = (on === 'wasm' ? web : node) as unknown as Ort;
    // One token uses few of the experts: the others have no rows.
    for (const seq of [1, 13]) await checkOnRuntime(m as unknown as AnyModule, inputs, target, ort, { sizes: { batch: 1, seq } });
  });

  it('compute as many rows as tokens use them', () => {
    const flopsOf = (m: unknown, seq: number): number => {
      const { graph } = lowered(m);
      return graph.nodes.filter(({ op }) => op.key === 'MatMul').length * seq;
    };
    // Three products for each of five experts, and the router's.
    expect(flopsOf(blocks.gated, 1)).toBe(3 * 5 + 1);
  });

  it('are computed together where every token uses all, and where each would wait for a device', () => {
    const codes = (m: unknown, target = targets.cpu): string => JSON.stringify(lowered(m, target).decisions);
    expect(codes(sparseMoe({ dim, hidden, experts: 3, topK: 3 }))).toContain('"allExperts"');
    expect(codes(blocks.plain, targets.webgpu)).toContain('"partsWait"');
    expect(codes(sparseMoe({ dim, hidden: 1, experts: 257 }))).toContain('"manyExperts"');
  });
});
