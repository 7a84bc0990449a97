// Smooth rectified linear unit. Shamir et al. 2022, https://arxiv.org/abs/2202.06499
import { defineBlock, num, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';

/**
 * Smooth rectified linear unit: a parabola between 0 and the identity.
 *
 *     y = (x + beta)² / (4 beta) where |x| <= beta, otherwise max(x, 0)
 *
 * Shapes   x any → like x
 * Dtypes   float32, float16, bfloat16
 * Cost     time and memory O(elements of x)
 * Source   Shamir et al. 2022, https://arxiv.org/abs/2202.06499
 * Lowers   everywhere: Add, Clip, Mul, Relu, Sub
 * Example  const f = smelu({});
 */
export const smelu = defineBlock({
  kind: 'activation',
  name: 'smelu',
  summary: 'A smooth rectifier: a parabola between 0 and the identity.',
  source: 'Shamir et al. 2022, https://arxiv.org/abs/2202.06499',
  fields: {
    /** half the width of the parabola. Default: `2`. */
    beta: num({ doc: 'half the width of the parabola', min: 1e-3, default: 2 }),
  },
  examples: [{}, { beta: 0.7 }],
  create:
    ({ beta }) =>
    (x: Value) => {
      const bend = ops.clip(ops.add(x, beta), 0, 2 * beta);
      // At most half of the other factor, so that no square overflows.
      const share = ops.mul(bend, 1 / (4 * beta));
      return ops.add(ops.mul(share, bend), ops.relu(ops.sub(x, beta)));
    },
});
