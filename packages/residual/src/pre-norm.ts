// A residual layer with a norm before each sub-layer (pre-norm). Xiong et al. 2020, https://arxiv.org/abs/2002.04745
import { bool, defineBlock, each, int } from '@onnxformers/core';
import { layerNorm } from './norms/layer-norm';
import { branchFields, normBefore, residualLayer, scaleFields, shortcutFields, subLayerFields } from './sub-layers';

/**
 * A residual layer with a norm before each sub-layer (pre-norm). Its sub-layers are mixer, cross attention and feed-forward, each optional. The residual
 * connection is not normalised, so a stack of such layers needs a norm after the last one. With `normResidual` it starts after the norm (BLOOM).
 *
 *     y = scale · x + branchScale · λ ⊙ f(norm(x))      for each sub-layer f; λ: learned, if layerScale is set, otherwise 1
 *
 * In training, `stochasticDepth` leaves out the second summand of whole sequences at random, and divides it by 1 − probability for the others.
 * If a sub-layer changes the number of channels (its `outDim`), the residual connection is a linear map.
 *
 * Shapes   x [..., seq, dim] → the same, or [..., seq, outDim]
 * Dtypes   float32, float16, bfloat16
 * Cost     that of its sub-layers, and O(seq · dim) for norms and sums
 * Throws   ConfigError for a layer without sub-layers
 * Source   Xiong et al. 2020, https://arxiv.org/abs/2002.04745; layerScale: Touvron et al. 2021, https://arxiv.org/abs/2103.17239;
 *          stochasticDepth: Huang et al. 2016, https://arxiv.org/abs/1603.09382
 * Lowers   portable: Add, LayerNormalization · elsewhere: sum and norm as SkipLayerNormalization or SkipSimplifiedLayerNormalization,
 *          across layers too
 * Example  const block = preNorm({ dim: 512, feedforward: mlp({ dim: 512 }) });
 */
export const preNorm = defineBlock({
  kind: 'layer',
  name: 'pre_norm',
  summary: 'A residual layer with a norm before each sub-layer.',
  source: 'Xiong et al. 2020, https://arxiv.org/abs/2002.04745',
  fields: {
    /** input channels. Inherited from the enclosing block. */
    dim: int({ doc: 'input channels', unit: 'channels', min: 1, inherit: true }),
    ...scaleFields,
    /** the norm of the cross attention also normalises the memory. Default: `false`. */
    normMemory: bool({ doc: 'the norm of the cross attention also normalises the memory', default: false }),
    /** the residual connection of a sub-layer carries norm(x) instead of x. Default: `false`. */
    normResidual: bool({ doc: 'the residual connection of a sub-layer carries norm(x) instead of x', default: false }),
    ...branchFields,
    ...shortcutFields,
    ...subLayerFields,
    /** norm before each sub-layer. Default: `layer_norm`. */
    norm: each('norm', { doc: 'norm before each sub-layer', default: layerNorm, inside: normBefore }),
  },
  examples: [
    { dim: 12, mixer: { name: 'multi_head', heads: 3 }, feedforward: 'mlp' },
    {
      dim: 12,
      mixer: { name: 'multi_head', heads: 2 },
      cross: { name: 'multi_head', heads: 3, cross: true },
      feedforward: 'glu',
      norm: 'rms_norm',
      normMemory: true,
    },
    { dim: 10, feedforward: { name: 'mlp', outDim: 7 }, scale: 0.5 },
    {
      dim: 10,
      mixer: { name: 'multi_head', heads: 2 },
      feedforward: { name: 'mlp', hidden: 7 },
      layerScale: 0.3,
      stochasticDepth: 0.2,
    },
  ],
  create: (c, { path }) => residualLayer(c, { ...c, before: c.norm }, path),
});
