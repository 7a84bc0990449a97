// Rectified linear unit, squared, of mean 0 and variance 1. Yu et al. 2022, https://arxiv.org/abs/2210.13452
import { defineBlock, num, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';

/**
 * Rectified linear unit, squared, scaled and shifted. With the defaults, the result has mean 0 and variance 1 for normal x.
 *
 *     y = scale · max(x, 0)² + offset
 *
 * Shapes   x any → like x
 * Dtypes   float32, float16, bfloat16
 * Cost     time and memory O(elements of x)
 * Source   Yu et al. 2022, https://arxiv.org/abs/2210.13452
 * Lowers   everywhere: Relu, Mul, Add
 * Example  const f = starRelu({});
 */
export const starRelu = defineBlock({
  kind: 'activation',
  name: 'star_relu',
  summary: 'scale · max(x, 0)² + offset.',
  source: 'Yu et al. 2022, https://arxiv.org/abs/2210.13452',
  fields: {
    /** factor of the square. Default: `0.8944`. */
    scale: num({ doc: 'factor of the square', default: 0.8944 }),
    /** offset, added after scaling. Default: `-0.4472`. */
    offset: num({ doc: 'offset, added after scaling', default: -0.4472 }),
  },
  examples: [{}, { scale: 0.5, offset: 0.1 }],
  create:
    ({ scale, offset }) =>
    (x: Value) => {
      const positive = ops.relu(x);
      return ops.add(ops.mul(ops.mul(positive, positive), scale), offset);
    },
});
