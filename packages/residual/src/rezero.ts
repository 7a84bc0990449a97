// A residual layer without norms. Bachlechner et al. 2020, https://arxiv.org/abs/2003.04887
import { defineBlock, int } from '@onnxformers/core';
import { branchFields, residualLayer, shortcutFields, subLayerFields } from './sub-layers';

/**
 * A residual layer without norms: the result of each sub-layer is multiplied by one learned number, which is 0 at first, so that a new layer is the
 * identity.
 *
 *     y = x + α · f(x)      for each sub-layer f
 *
 * In training, `stochasticDepth` leaves out the second summand of whole sequences at random, and divides it by 1 − probability for the others.
 *
 * Shapes   x [..., seq, dim] → the same, or [..., seq, outDim]
 * Dtypes   float32, float16, bfloat16
 * Cost     that of its sub-layers, and O(seq · dim) for norms and sums
 * Throws   ConfigError for a layer without sub-layers
 * Source   Bachlechner et al. 2020, https://arxiv.org/abs/2003.04887
 * Lowers   everywhere: Mul, Add
 * Example  const block = rezero({ dim: 512, feedforward: mlp({ dim: 512 }) });
 */
export const rezero = defineBlock({
  kind: 'layer',
  name: 'rezero',
  summary: 'A residual layer without norms, whose sub-layers have a learned factor.',
  source: 'Bachlechner et al. 2020, https://arxiv.org/abs/2003.04887',
  fields: {
    /** input channels. Inherited from the enclosing block. */
    dim: int({ doc: 'input channels', unit: 'channels', min: 1, inherit: true }),
    /** probability that a sub-layer is left out in training, for a whole sequence (stochastic depth). Default: `0`. */
    stochasticDepth: branchFields.stochasticDepth,
    ...shortcutFields,
    ...subLayerFields,
  },
  examples: [
    { dim: 12, mixer: { name: 'multi_head', heads: 3 }, feedforward: 'mlp' },
    { dim: 10, feedforward: { name: 'glu', outDim: 7 }, stochasticDepth: 0.1 },
  ],
  create: (c, { path }) => residualLayer(c, { ...c, scale: 1, branchScale: 1, layerScale: 0, oneFactor: true }, path),
});
