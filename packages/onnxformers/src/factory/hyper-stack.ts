// A sequence of layers with hyper-connections. Zhu et al. 2024, https://arxiv.org/abs/2409.19606
import { defineBlock, int, module, type SequenceContext, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { plainStackFields } from './stack-fields';

/**
 * A sequence of layers with hyper-connections: n copies of the hidden states go through them, and are added up.
 *
 *     [y₁, …, y_n] = layer_depth(… layer_1([x, …, x])), y = norm(y₁ + … + y_n)
 *
 * Shapes   x [batch, seq, dim], packed [tokens, dim] → the same
 * Dtypes   float32, float16, bfloat16
 * Cost     the sum of those of its layers; memory O(n · seq · dim) and that of one layer
 * Throws   ConfigError when a list of layers is shorter or longer than depth · ShapeError for layers that are not `hyper_connections` with the same rate
 * Source   Zhu et al. 2024, https://arxiv.org/abs/2409.19606
 * Lowers   everywhere: Concat, ReduceSum, and as its layers
 * Example  const block = zoo.build('stack', { name: 'hyper_stack', dim: 12, depth: 2, layers: { name: 'hyper_connections', mixer: { name: 'multi_head', heads: 3 }, feedforward: 'mlp' } });
 */
export const hyperStack = defineBlock({
  kind: 'stack',
  name: 'hyper_stack',
  summary: 'A sequence of layers with hyper-connections, on several copies of the hidden states.',
  source: 'Zhu et al. 2024, https://arxiv.org/abs/2409.19606',
  fields: {
    ...plainStackFields,
    /** copies of the hidden states; the layers inherit it. Default: `4`. */
    expansionRate: int({ doc: 'copies of the hidden states; the layers inherit it', min: 1, max: 64, default: 4 }),
  },
  examples: [
    {
      dim: 12,
      depth: 2,
      expansionRate: 2,
      layers: { name: 'hyper_connections', mixer: { name: 'multi_head', heads: 3 }, feedforward: 'mlp' },
      norm: 'layer_norm',
    },
    { dim: 10, depth: 1, expansionRate: 3, layers: [{ name: 'hyper_connections', dynamic: false, feedforward: 'glu' }] },
  ],
  create({ dim, depth, layers, norm, expansionRate }) {
    const all = Array.from({ length: depth }, (_, i) => layers(i));
    return module({ layers: all, norm }, (x: Value, ctx: SequenceContext) => {
      const copies = ops.concat(new Array<Value>(expansionRate).fill(x), -1);
      const last = all.reduce((h, layer) => layer(h, ctx), copies);
      const apart = ops.reshape(last, [...x.dims.slice(0, -1), expansionRate, dim]);
      const y = ops.reduceSum(apart, [-2], { keepDims: false });
      return norm ? norm(y) : y;
    });
  },
});
