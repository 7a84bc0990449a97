import { compile, type Model, type ModelDType, type Node, targets } from '@onnxformers/core';
import { describe, expect, it } from 'vitest';
import { zoo } from './index';

const machine = { sm: 90, cudnn: '9.14' };

/** The ops that run, counted: without what is made of weights alone. */
function opsOf({ graph }: Model): Record<string, number> {
  const running = new Set<Node>();
  const runs = (v: Node['operands'][number]) =>
    v?.leaf?.kind === 'input' || v?.leaf?.kind === 'derived' || (v?.producer && running.has(v.producer));
  const counts: Record<string, number> = {};
  for (const node of graph.nodes) {
    if (!node.operands.some(runs)) continue;
    running.add(node);
    const name = node.op.key.split('.').at(-1)!;
    counts[name] = (counts[name] ?? 0) + 1;
  }
  return Object.fromEntries(Object.entries(counts).sort(([a], [b]) => (a < b ? -1 : 1)));
}

const outside = (dtype: ModelDType) => (dtype === 'bfloat16' ? 'float32' : dtype);
function encoder(dtype: ModelDType, bias: boolean): Record<string, number> {
  const layers = {
    name: 'pre_norm',
    mixer: { name: 'multi_head', heads: 16, bias },
    feedforward: { name: 'mlp', bias },
  } as const;
  const stack = zoo.parse('stack', { name: 'stack', dim: 1024, depth: 24, layers, norm: 'layer_norm' });
  const inputs = { x: [outside(dtype), ['batch', 'seq', 1024]] } as const;
  return opsOf(compile(stack, { target: targets.cuda, machine, dtype, inputs }));
}
function decoder(dtype: ModelDType): Record<string, number> {
  const layers = {
    name: 'pre_norm',
    norm: 'rms_norm',
    mixer: { name: 'multi_head', heads: 16, kvHeads: 4, bias: false, rotaryEmbedding: 'rotary' },
    feedforward: { name: 'glu', activation: 'silu', bias: false },
  } as const;
  const stack = { name: 'stack', depth: 24, layers, norm: 'rms_norm' } as const;
  const model = zoo.parse('model', { name: 'causal_lm', dim: 1024, vocabSize: 101, embedding: 'token', stack });
  const inputs = { ids: ['int64', ['batch', 'seq']] } as const;
  return opsOf(compile(model, { target: targets.cuda, machine, dtype, inputs }));
}

// The border to the outside: bfloat16 never crosses it.
const casts = (dtype: ModelDType, count: number) => (dtype === 'bfloat16' ? { Cast: count } : {});

describe.each(['float16', 'bfloat16'] as const)('24 layers on cuda in %s: no other nodes between the kernels', (dtype) => {
  it.each([
    // The bias of the queries is in their weight, that of the keys is not needed, that of the values is part of that of the output projection.
    [true, { BiasGelu: 24 }],
    [false, { Gelu: 24 }],
  ])('an encoder: an attention and two norms of sums a layer, a plain norm in front; with biases: %s', (bias, activations) => {
    expect(encoder(dtype, bias)).toEqual({
      LayerNormalization: 1,
      MatMul: 24 * 6,
      MultiHeadAttention: 24,
      SkipLayerNormalization: 24 * 2,
      ...activations,
      ...casts(dtype, 2),
    });
  });
  it('a decoder with rotated, grouped heads and SwiGLU: the same, repeated keys and values, and tables of angles made once', () => {
    const perLayer = {
      MultiHeadAttention: 24,
      Tile: 48,
      MatMul: 24 * 7,
      QuickGelu: 24,
      RotaryEmbedding: 48,
      SkipSimplifiedLayerNormalization: 48,
    };
    const tables = { Range: 1, Unsqueeze: 1, Shape: 2, Concat: 2, Reshape: 1 + 96, Sin: 1, Cos: 1, Expand: 2 };
    expect(decoder(dtype)).toEqual({
      ...perLayer,
      ...tables,
      // Embeddings; the number of positions.
      Gather: 2,
      SimplifiedLayerNormalization: 1,
      // The map to logits; the product of angles and rates.
      MatMul: 24 * 7 + 1,
      Mul: 24 + 1,
      // Positions to float32, two tables to the dtype, and logits out of bfloat16.
      Cast: dtype === 'bfloat16' ? 4 : 3,
    });
  });
});
