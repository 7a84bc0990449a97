import { type AnyModule, targets } from '@onnxformers/core';
import { checkOnRuntime } from '@onnxformers/core/testing';
import * as ort from 'onnxruntime-node';
import { expect, it } from 'vitest';
import { blocks, gelu, geluTanh, glu, mlp, quickGelu, silu } from '../index';

const dim = 24;
const keys = async (m: AnyModule): Promise<string[]> => {
  const model = await checkOnRuntime(m, { x: ['float32', ['batch', 'seq', dim]] }, targets.cpu, ort, {
    sizes: { batch: 2, seq: 5 },
  });
  return model.graph.nodes.map((n) => n.op.key).filter((key) => key.startsWith('com.microsoft'));
};

it.each([
  ['mlp of gelu', mlp({ dim }), ['BiasGelu']],
  ['mlp of gelu_tanh', mlp({ dim, activation: geluTanh({}) }), ['FastGelu']],
  ['mlp of silu', mlp({ dim, activation: silu({}) }), ['QuickGelu']],
  ['gelu', gelu({}), ['Gelu']],
  ['gelu_tanh', geluTanh({}), ['FastGelu']],
  ['silu', silu({}), ['QuickGelu']],
  ['quick_gelu', quickGelu({}), ['QuickGelu']],
  ['a packed glu', glu({ dim, packed: true }), ['QuickGelu']],
])('%s runs in its kernel on the runtime', async (_, block, kernels) => {
  expect(await keys(block)).toEqual(kernels.map((name) => `com.microsoft.${name}`));
});

const activations = blocks.filter((block) => block.kind === 'activation');
it.each(activations)('$blockName computes on the runtime what the interpreter does', async (block) => {
  for (const example of block.definition.examples) await keys((block as (config: object) => AnyModule)(example));
});

it('dropout by seeded draws drops the same on the runtime', async () => {
  const inputs = { x: ['float32', ['batch', 'seq', dim]] } as const;
  await checkOnRuntime(mlp({ dim, dropout: 0.4 }), inputs, targets.cpu, ort, {
    sizes: { batch: 2, seq: 5 },
    training: true,
    draws: { seed: 7 },
  });
});
