// Gaussian error linear unit, approximated by a sigmoid. Hendrycks & Gimpel 2016, https://arxiv.org/abs/1606.08415
import { defineBlock } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { useQuickGelu } from '../kernels/quick-gelu';

/**
 * Gaussian error linear unit, approximated by a sigmoid.
 *
 *     y = x / (1 + e^(-1.702 x))
 *
 * Shapes   x any → like x
 * Dtypes   float32, float16, bfloat16
 * Cost     time and memory O(elements of x)
 * Source   Hendrycks & Gimpel 2016, https://arxiv.org/abs/1606.08415
 * Lowers   portable: sigmoid and 2 more · elsewhere: QuickGelu
 * Example  const f = quickGelu({});
 */
export const quickGelu = defineBlock({
  kind: 'activation',
  name: 'quick_gelu',
  summary: 'x Φ(x), approximated by a sigmoid.',
  source: 'Hendrycks & Gimpel 2016, https://arxiv.org/abs/1606.08415',
  fields: {},
  examples: [{}],
  rules: [useQuickGelu],
  create: () => ops.quickGelu,
});
