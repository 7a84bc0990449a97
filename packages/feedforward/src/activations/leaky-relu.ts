// Rectified linear unit with a slope below 0. Maas et al. 2013, https://ai.stanford.edu/~amaas/papers/relu_hybrid_icml2013_final.pdf
import { defineBlock, num, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';

/**
 * Rectified linear unit with a slope below 0.
 *
 *     y = x where x >= 0, otherwise slope · x
 *
 * Shapes   x any → like x
 * Dtypes   float32, float16, bfloat16
 * Cost     time and memory O(elements of x)
 * Source   Maas et al. 2013, https://ai.stanford.edu/~amaas/papers/relu_hybrid_icml2013_final.pdf
 * Lowers   everywhere: LeakyRelu
 * Example  const f = leakyRelu({});
 */
export const leakyRelu = defineBlock({
  kind: 'activation',
  name: 'leaky_relu',
  summary: 'x, or slope · x where x is negative.',
  source: 'Maas et al. 2013, https://ai.stanford.edu/~amaas/papers/relu_hybrid_icml2013_final.pdf',
  fields: {
    /** slope for negative inputs. Default: `0.01`. */
    slope: num({ doc: 'slope for negative inputs', default: 0.01 }),
  },
  examples: [{}, { slope: 0.3 }],
  create:
    ({ slope }) =>
    (x: Value) =>
      ops.leakyRelu(x, slope),
});
