// Rectified linear unit, squared. So et al. 2021, https://arxiv.org/abs/2109.08668
import { defineBlock, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';

/**
 * Rectified linear unit, squared.
 *
 *     y = max(x, 0)²
 *
 * Shapes   x any → like x
 * Dtypes   float32, float16, bfloat16
 * Cost     time and memory O(elements of x)
 * Source   So et al. 2021, https://arxiv.org/abs/2109.08668
 * Lowers   everywhere: Relu, Mul
 * Example  const f = squaredRelu({});
 */
export const squaredRelu = defineBlock({
  kind: 'activation',
  name: 'squared_relu',
  summary: 'max(x, 0)².',
  source: 'So et al. 2021, https://arxiv.org/abs/2109.08668',
  fields: {},
  examples: [{}],
  create: () => (x: Value) => {
    const positive = ops.relu(x);
    return ops.mul(positive, positive);
  },
});
