// A residual layer with a norm after each sub-layer (post-norm). Vaswani et al. 2017, https://arxiv.org/abs/1706.03762
import { defineBlock, each, int } from '@onnxformers/core';
import { layerNorm } from './norms/layer-norm';
import { branchFields, normAfter, residualLayer, scaleFields, shortcutFields, subLayerFields } from './sub-layers';

/**
 * A residual layer with a norm after each residual connection (post-norm). Its sub-layers are mixer, cross attention and feed-forward, each optional.
 *
 *     y = norm(scale · x + branchScale · λ ⊙ f(x))      for each sub-layer f; λ: learned, if layerScale is set, otherwise 1
 *
 * In training, `stochasticDepth` leaves out the second summand of whole sequences at random, and divides it by 1 − probability for the others.
 * If a sub-layer changes the number of channels (its `outDim`), the residual connection is a linear map.
 *
 * Shapes   x [..., seq, dim] → the same, or [..., seq, outDim]
 * Dtypes   float32, float16, bfloat16
 * Cost     that of its sub-layers, and O(seq · dim) for norms and sums
 * Throws   ConfigError for a layer without sub-layers
 * Source   Vaswani et al. 2017, https://arxiv.org/abs/1706.03762; layerScale: Touvron et al. 2021, https://arxiv.org/abs/2103.17239;
 *          stochasticDepth: Huang et al. 2016, https://arxiv.org/abs/1603.09382
 * Lowers   portable: Add, LayerNormalization · elsewhere: sum and norm as SkipLayerNormalization or SkipSimplifiedLayerNormalization
 * Example  const block = postNorm({ dim: 512, feedforward: mlp({ dim: 512 }) });
 */
export const postNorm = defineBlock({
  kind: 'layer',
  name: 'post_norm',
  summary: 'A residual layer with a norm after each sub-layer.',
  source: 'Vaswani et al. 2017, https://arxiv.org/abs/1706.03762',
  fields: {
    /** input channels. Inherited from the enclosing block. */
    dim: int({ doc: 'input channels', unit: 'channels', min: 1, inherit: true }),
    ...scaleFields,
    ...branchFields,
    ...shortcutFields,
    ...subLayerFields,
    /** norm after each sub-layer. Default: `layer_norm`. */
    norm: each('norm', { doc: 'norm after each sub-layer', default: layerNorm, inside: normAfter }),
  },
  examples: [
    { dim: 12, mixer: { name: 'multi_head', heads: 3 }, feedforward: 'mlp' },
    {
      dim: 12,
      mixer: { name: 'multi_head', heads: 2 },
      cross: { name: 'multi_head', heads: 3, cross: true },
      feedforward: 'glu',
      norm: 'rms_norm',
    },
    { dim: 10, feedforward: { name: 'mlp', outDim: 7 }, scale: 0.5 },
  ],
  create: (c, { path }) => residualLayer(c, { ...c, after: c.norm }, path),
});
