// A residual layer with a norm before each sub-layer (pre-norm). Xiong et al. 2020, https://arxiv.org/abs/2002.04745
import { bool, defineBlock, each, int } from '@onnxformers/core';
import { layerNorm } from './norms/layer-norm';
import { normBefore, residualLayer, scaleFields, shortcutFields, subLayerFields } from './sub-layers';

/**
 * A residual layer with a norm before each sub-layer (pre-norm). Its sub-layers are mixer, cross attention and feed-forward, each optional. The residual
 * connection is not normalised, so a stack of such layers needs a norm after the last one.
 *
 *     y = scale · x + branchScale · f(norm(x))      for each sub-layer f
 *
 * If a sub-layer changes the number of channels (its `outDim`), the residual connection is a linear map.
 *
 * Shapes   x [..., seq, dim] → the same, or [..., seq, outDim]
 * Dtypes   float32, float16, bfloat16
 * Throws   ConfigError for a layer without sub-layers
 * Source   Xiong et al. 2020, https://arxiv.org/abs/2002.04745
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
  ],
  create: (c, { path }) =>
    residualLayer(
      c,
      { norm: 'before', shortcutBias: c.shortcutBias, scale: c.scale, branchScale: c.branchScale, normMemory: c.normMemory },
      path,
    ),
});
