// Gaussian error linear unit, exact form. Hendrycks & Gimpel 2016, https://arxiv.org/abs/1606.08415
import { defineBlock } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { useBiasGelu } from '../kernels/bias-gelu';
import { useGelu } from '../kernels/gelu';

/**
 * Gaussian error linear unit, exact.
 *
 *     y = x / 2 · (1 + erf(x / √2))
 *
 * Shapes   x any → like x
 * Dtypes   float32, float16, bfloat16
 * Cost     time and memory O(elements of x)
 * Source   Hendrycks & Gimpel 2016, https://arxiv.org/abs/1606.08415
 * Lowers   portable: Gelu, below opset 20 erf and 4 more · elsewhere: Gelu, with a bias before it BiasGelu
 * Example  const f = gelu({});
 */
export const gelu = defineBlock({
  kind: 'activation',
  name: 'gelu',
  summary: 'x Φ(x), the exact form with erf.',
  source: 'Hendrycks & Gimpel 2016, https://arxiv.org/abs/1606.08415',
  fields: {},
  examples: [{}],
  rules: [useBiasGelu, useGelu],
  create: () => ops.gelu,
});
