// A causal stack, with cross attention to a memory if its layers have it.
import { and, causal, defineBlock, int, module, type SequenceContext, type Value, withContext } from '@onnxformers/core';
import { backboneFields, backboneInput, backboneOf, runBackbone } from './backbone';
import { shareInputMask } from './input-masked';

/**
 * Embedding, positions and a causal stack; layers with cross attention read the input `memory`.
 *
 *     hidden_states = stack(positions(embedding(ids)), memory)      without an embedding: of x
 *
 * Shapes   ids int64 [batch, seq] or x [batch, seq, dim], memory [batch, memory_seq, memory_dim] → hidden_states [batch, seq, dim]
 * Dtypes   float32, float16, bfloat16
 * Masks    causal, and lengths, attention_mask, attention_bias, memory_lengths, memory_mask (inputs of the model);
 *          input_mask [batch, seq] if layers are input_masked
 * Cost     that of embedding and stack
 * Throws   ShapeError when a layer needs a memory and the model has no input `memory`
 * Source   Vaswani et al. 2017, https://arxiv.org/abs/1706.03762
 * Lowers   as its layers
 * Example  const block = zoo.build('model', { name: 'decoder', dim: 64, stack: { name: 'stack', depth: 2, layers: { name: 'pre_norm', feedforward: 'mlp' } } });
 */
export const decoder = defineBlock({
  kind: 'model',
  name: 'decoder',
  summary: 'Embedding, positions and a causal stack, with cross attention if its layers have it.',
  source: 'Vaswani et al. 2017, https://arxiv.org/abs/1706.03762',
  fields: {
    /** channels. Inherited from the enclosing block. */
    dim: int({ doc: 'channels', unit: 'channels', min: 1, inherit: true }),
    ...backboneFields,
  },
  examples: [
    {
      dim: 12,
      stack: {
        name: 'stack',
        depth: 1,
        layers: {
          name: 'pre_norm',
          mixer: { name: 'multi_head', heads: 3 },
          cross: { name: 'multi_head', heads: 2, cross: true },
          feedforward: 'mlp',
        },
        norm: 'layer_norm',
      },
    },
  ],
  properties: ['causal'],
  outputs: ['hidden_states'],
  create(c) {
    const backbone = backboneOf(c);
    return module(backbone, (inputs: Readonly<Record<string, Value>>, ctx: SequenceContext) => {
      shareInputMask(inputs, ctx);
      return { hidden_states: runBackbone(backbone, backboneInput(backbone, inputs), causally(ctx)) };
    });
  },
});

/** The same context with a causal mask. */
export function causally(ctx: SequenceContext): SequenceContext {
  return withContext(ctx, { mask: and(ctx.mask, causal) });
}
