// A residual layer that normalises what goes into its sub-layers. Xiong et al. 2020, https://arxiv.org/abs/2002.04745
import { bool, defineBlock, each, int } from '@onnxformers/core';
import { layerNorm } from './norms/layer-norm';
import { normBefore, residualLayer, scaleFields, shortcutFields, subLayerFields } from './sub-layers';

/**
 * A residual layer that normalises what goes into its sub-layers: mixer, cross attention, feed-forward, each if it is there. The stream
 * itself is not normalised, so a stack of such layers wants a norm behind the last.
 *
 *     y = scale · x + branchScale · f(norm(x))      for each sub-layer f
 *
 * Where a sub-layer changes the number of channels (its `outDim`), x goes through a linear shortcut.
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
  summary: 'A residual layer that normalises what goes into its sub-layers.',
  source: 'Xiong et al. 2020, https://arxiv.org/abs/2002.04745',
  fields: {
    /** input channels. Inherited from the block around. */
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
