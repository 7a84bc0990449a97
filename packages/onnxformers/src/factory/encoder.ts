// A bidirectional stack.
import { defineBlock, int, module, type SequenceContext, type Value } from '@onnxformers/core';
import { backboneFields, backboneInput, backboneOf, runBackbone } from './backbone';
import { shareInputMask } from './input-masked';

/**
 * Embedding, positions and a bidirectional stack: each position attends to the whole sequence.
 *
 *     hidden_states = stack(positions(embedding(ids)))      without an embedding: of x
 *
 * Shapes   ids int64 [batch, seq] or x [batch, seq, dim] → hidden_states [batch, seq, dim]
 * Dtypes   float32, float16, bfloat16
 * Masks    lengths, attention_mask, attention_bias (inputs of the model);
 *          input_mask [batch, seq] if layers are input_masked
 * Cost     that of embedding and stack
 * Throws   ConfigError when neither ids nor x is an input
 * Source   Vaswani et al. 2017, https://arxiv.org/abs/1706.03762
 * Lowers   as its layers
 * Example  const block = zoo.build('model', { name: 'encoder', dim: 64, stack: { name: 'stack', depth: 2, layers: { name: 'pre_norm', feedforward: 'mlp' } } });
 */
export const encoder = defineBlock({
  kind: 'model',
  name: 'encoder',
  summary: 'Embedding, positions and a bidirectional stack.',
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
        layers: { name: 'pre_norm', mixer: { name: 'multi_head', heads: 3 }, feedforward: 'mlp' },
        norm: 'layer_norm',
      },
    },
    {
      dim: 12,
      embedding: { name: 'vocab', vocabSize: 23, seqLen: 11 },
      stack: {
        name: 'stack',
        depth: 1,
        layers: { name: 'post_norm', mixer: { name: 'multi_head', heads: 2 }, feedforward: 'mlp' },
      },
    },
  ],
  outputs: ['hidden_states'],
  create(c) {
    const backbone = backboneOf(c);
    return module(backbone, (inputs: Readonly<Record<string, Value>>, ctx: SequenceContext) => {
      shareInputMask(inputs, ctx);
      return { hidden_states: runBackbone(backbone, backboneInput(backbone, inputs), ctx) };
    });
  },
});
