// Layer normalisation. Ba et al. 2016, https://arxiv.org/abs/1607.06450
import { bool, defineBlock, init, int, module, num, Parameter, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { useSkipLayerNormalization } from '../kernels/skip-layer-normalization';

/**
 * Layer normalisation of the channels.
 *
 *     y = (x - mean(x)) / √(variance(x) + eps) · weight + bias
 *
 * Shapes   x [..., dim] → like x
 * Dtypes   float32, float16, bfloat16; mean and variance in float32
 * Cost     time and memory O(elements of x)
 * Throws   ConfigError for sizes below 1
 * Source   Ba et al. 2016, https://arxiv.org/abs/1607.06450
 * Lowers   portable: LayerNormalization · elsewhere: LayerNormalization, with a sum before it SkipLayerNormalization
 * Example  const norm = layerNorm({ dim: 512 });
 */
export const layerNorm = defineBlock({
  kind: 'norm',
  name: 'layer_norm',
  summary: 'Channels with mean 0 and variance 1, scaled and shifted.',
  source: 'Ba et al. 2016, https://arxiv.org/abs/1607.06450',
  fields: {
    /** channels. Inherited from the enclosing block. */
    dim: int({ doc: 'channels', unit: 'channels', min: 1, inherit: true }),
    /** added to the variance. Default: `0.00001`. */
    eps: num({ doc: 'added to the variance', min: 0, default: 1e-5 }),
    /** channels are shifted too. Default: `true`. */
    bias: bool({ doc: 'channels are shifted too', default: true }),
  },
  examples: [{ dim: 7 }, { dim: 5, eps: 1e-3, bias: false }],
  rules: [useSkipLayerNormalization],
  properties: ['batchIndependent', 'permutationEquivariant', 'causal'],
  create({ dim, eps, bias: shifted }) {
    const weight = new Parameter([dim], init.ones, { role: 'norm', part: 'weight' });
    const bias = shifted ? new Parameter([dim], init.zeros, { role: 'norm', part: 'bias' }) : undefined;
    return module({ weight, bias }, (x: Value) => ops.layerNorm(x, weight, bias, { epsilon: eps }));
  },
});
