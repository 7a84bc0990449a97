// A sequence of layers.
import { defineBlock, each, int, module, type SequenceContext, slot, type Value } from '@onnxformers/core';
import { longestSequence } from './backbone';

/**
 * A sequence of layers, with an optional norm after the last one, which pre-norm layers need.
 *
 *     y = norm(layer_depth(… layer_1(x)))
 *
 * Shapes   x [batch, seq, dim], packed [tokens, dim] → the same
 * Dtypes   float32, float16, bfloat16
 * Throws   ConfigError when a list of layers is shorter or longer than depth
 * Lowers   as its layers
 * Example  const block = zoo.build('stack', { name: 'stack', dim: 512, depth: 12, layers: { name: 'pre_norm', feedforward: 'mlp' } });
 */
export const stack = defineBlock({
  kind: 'stack',
  name: 'stack',
  summary: 'A sequence of layers.',
  fields: {
    /** channels. Inherited from the enclosing block. */
    dim: int({ doc: 'channels', unit: 'channels', min: 1, inherit: true }),
    /** longest sequence; inherited by embeddings, positions and mechanisms of fixed length inside. Inherited from the enclosing block. */
    seqLen: longestSequence,
    /** number of layers. Inherited from the enclosing block. */
    depth: int({ doc: 'number of layers', min: 0, max: 10_000, inherit: true }),
    /** one config for all layers, or a list of them. */
    layers: each('layer', { doc: 'one config for all layers, or a list of them' }),
    /** norm after the last layer. Optional. */
    norm: slot('norm', { doc: 'norm after the last layer', optional: true }),
  },
  examples: [
    {
      dim: 12,
      depth: 2,
      layers: { name: 'pre_norm', mixer: { name: 'multi_head', heads: 3 }, feedforward: 'mlp' },
      norm: 'layer_norm',
    },
    {
      dim: 12,
      depth: 2,
      layers: [
        { name: 'pre_norm', mixer: { name: 'multi_head', heads: 2 } },
        { name: 'post_norm', feedforward: 'mlp' },
      ],
    },
  ],
  create({ depth, layers, norm }) {
    const all = Array.from({ length: depth }, (_, i) => layers(i));
    return module({ layers: all, norm }, (x: Value, ctx: SequenceContext) => {
      const y = all.reduce((h, layer) => layer(h, ctx), x);
      return norm ? norm(y) : y;
    });
  },
});
