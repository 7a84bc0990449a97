// A sequence of reversible layers. Gomez et al. 2017, https://arxiv.org/abs/1707.04585
import { bool, defineBlock, module, type SequenceContext, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { inputMaskOf } from './input-masked';
import { plainStackFields } from './stack-fields';

/**
 * A sequence of reversible layers: both halves start as x, and the result is their mean.
 *
 *     [y₁, y₂] = layer_depth(… layer_1([x, x])), y = norm((y₁ + y₂) / 2)
 *
 * Shapes   x [batch, seq, dim], packed [tokens, dim] → the same
 * Dtypes   float32, float16, bfloat16
 * Cost     the sum of those of its layers, over two halves; memory that of one layer
 * Throws   ConfigError when a list of layers is shorter or longer than depth · ShapeError for layers that are not `reversible`
 * Source   Gomez et al. 2017, https://arxiv.org/abs/1707.04585; Kitaev et al. 2020, https://arxiv.org/abs/2001.04451
 * Lowers   everywhere: Concat, Split, Add, Mul, and as its layers
 * Example  const block = zoo.build('stack', { name: 'reversible_stack', dim: 12, depth: 2, layers: { name: 'reversible', mixer: { name: 'multi_head', heads: 3 }, feedforward: 'mlp' } });
 */
export const reversibleStack = defineBlock({
  kind: 'stack',
  name: 'reversible_stack',
  summary: 'A sequence of reversible layers on two copies of the hidden states.',
  source: 'Gomez et al. 2017, https://arxiv.org/abs/1707.04585',
  fields: {
    ...plainStackFields,
    /** the input `input_mask` of the model is added to all channels of both halves. Default: `false`. */
    addInputMask: bool({
      doc: 'the input `input_mask` of the model is added to all channels of both halves',
      default: false,
    }),
  },
  examples: [
    {
      dim: 12,
      depth: 2,
      layers: { name: 'reversible', mixer: { name: 'multi_head', heads: 3 }, feedforward: 'mlp' },
      norm: 'layer_norm',
    },
    {
      dim: 10,
      depth: 1,
      layers: [{ name: 'reversible', mixer: { name: 'multi_head', heads: 2 }, feedforward: 'glu', normPlace: 'after' }],
    },
  ],
  create({ dim, depth, layers, norm, addInputMask }) {
    const all = Array.from({ length: depth }, (_, i) => layers(i));
    return module({ layers: all, norm }, (x: Value, ctx: SequenceContext) => {
      const mask = addInputMask ? inputMaskOf(ctx) : undefined;
      const start = mask ? ops.add(x, ops.unsqueeze(ops.cast(mask, x.dtype), [-1])) : x;
      const both = all.reduce((h, layer) => layer(h, ctx), ops.concat([start, start], -1));
      const [y1, y2] = ops.split(both, [dim, dim], -1) as [Value, Value];
      const y = ops.mul(ops.add(y1, y2), 0.5);
      return norm ? norm(y) : y;
    });
  },
});
