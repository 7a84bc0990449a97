// Sigmoid linear unit, also called swish. Elfwing et al. 2017, https://arxiv.org/abs/1702.03118
import { defineBlock } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { useQuickGelu } from '../kernels/quick-gelu';

/**
 * Sigmoid linear unit, also called swish.
 *
 *     y = x / (1 + e⁻ˣ)
 *
 * Shapes   x any → like x
 * Dtypes   float32, float16, bfloat16
 * Cost     time and memory O(elements of x)
 * Source   Elfwing et al. 2017, https://arxiv.org/abs/1702.03118
 * Lowers   portable: sigmoid and a product · elsewhere: QuickGelu with alpha 1
 * Example  const f = silu({});
 */
export const silu = defineBlock({
  kind: 'activation',
  name: 'silu',
  summary: 'x times its sigmoid.',
  source: 'Elfwing et al. 2017, https://arxiv.org/abs/1702.03118',
  fields: {},
  examples: [{}],
  rules: [useQuickGelu],
  create: () => ops.silu,
});
