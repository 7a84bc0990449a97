// Root mean square normalisation. Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467
import { bool, defineBlock, init, int, module, num, Parameter, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { useSimplifiedLayerNormalization } from '../kernels/simplified-layer-normalization';
import { useSkipSimplifiedLayerNormalization } from '../kernels/skip-simplified-layer-normalization';

/**
 * Root mean square normalisation of the channels.
 *
 *     y = x / √(mean(x²) + eps) · weight          with unitOffset · (1 + weight), weight 0 at first, as in Gemma
 *
 * Shapes   x [..., dim] → like x
 * Dtypes   float32, float16, bfloat16; the mean in float32
 * Cost     time and memory O(elements of x)
 * Throws   ConfigError for sizes below 1
 * Source   Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467
 * Lowers   portable: RMSNormalization, below opset 23 primitives · elsewhere: SimplifiedLayerNormalization, with a sum before it
 *          SkipSimplifiedLayerNormalization
 * Example  const norm = rmsNorm({ dim: 512 });
 */
export const rmsNorm = defineBlock({
  kind: 'norm',
  name: 'rms_norm',
  summary: 'Channels with a mean square of 1, scaled.',
  source: 'Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467',
  fields: {
    /** channels. Inherited from the enclosing block. */
    dim: int({ doc: 'channels', unit: 'channels', min: 1, inherit: true }),
    /** added to the mean square. Default: `0.000001`. */
    eps: num({ doc: 'added to the mean square', min: 0, default: 1e-6 }),
    /** factors are 1 + weight. Default: `false`. */
    unitOffset: bool({ doc: 'factors are 1 + weight', default: false }),
  },
  examples: [{ dim: 7 }, { dim: 5, eps: 1e-3 }, { dim: 3, unitOffset: true }],
  rules: [useSkipSimplifiedLayerNormalization, useSimplifiedLayerNormalization],
  properties: ['batchIndependent', 'permutationEquivariant', 'causal'],
  create({ dim, eps, unitOffset }) {
    const weight = new Parameter([dim], unitOffset ? init.zeros : init.ones, { role: 'norm', part: 'weight' });
    // The sum is computed once, when the model is written.
    const factors = (x: Value) => (unitOffset ? x.graph.ops.add(x.graph.root.param(weight), 1) : weight);
    return module({ weight }, (x: Value) => ops.rmsNorm(x, factors(x), { epsilon: eps }));
  },
});
