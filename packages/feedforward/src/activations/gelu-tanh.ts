// Gaussian error linear unit, approximated by tanh. Hendrycks & Gimpel 2016, https://arxiv.org/abs/1606.08415
import { defineBlock } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { useFastGelu } from '../kernels/fast-gelu';

/**
 * Gaussian error linear unit, approximated by tanh.
 *
 *     y = x / 2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))
 *
 * Shapes   x any → like x
 * Dtypes   float32, float16, bfloat16
 * Cost     time and memory O(elements of x)
 * Source   Hendrycks & Gimpel 2016, https://arxiv.org/abs/1606.08415
 * Lowers   portable: Gelu, below opset 20 tanh and 8 more · elsewhere: FastGelu, with a bias before it too
 * Example  const f = geluTanh({});
 */
export const geluTanh = defineBlock({
  kind: 'activation',
  name: 'gelu_tanh',
  summary: 'x Φ(x), approximated by tanh.',
  source: 'Hendrycks & Gimpel 2016, https://arxiv.org/abs/1606.08415',
  fields: {},
  examples: [{}],
  rules: [useFastGelu],
  create: () => ops.geluTanh,
});
