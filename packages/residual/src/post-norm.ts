// A residual layer that normalises what its sub-layers give. Vaswani et al. 2017, https://arxiv.org/abs/1706.03762
import { defineBlock, each, int } from '@onnxformers/core';
import { layerNorm } from './norms/layer-norm';
import { normBehind, residualLayer, scaleFields, shortcutFields, subLayerFields } from './sub-layers';

/**
 * A residual layer that normalises the sum of stream and sub-layer: mixer, cross attention, feed-forward, each if it is there.
 *
 *     y = norm(scale · x + branchScale · f(x))      for each sub-layer f
 *
 * Where a sub-layer changes the number of channels (its `outDim`), x goes through a linear shortcut.
 *
 * Shapes   x [..., seq, dim] → the same, or [..., seq, outDim]
 * Dtypes   float32, float16, bfloat16
 * Throws   ConfigError for a layer without sub-layers
 * Source   Vaswani et al. 2017, https://arxiv.org/abs/1706.03762
 * Lowers   portable: Add, LayerNormalization · elsewhere: sum and norm as SkipLayerNormalization or SkipSimplifiedLayerNormalization
 * Example  const block = postNorm({ dim: 512, feedforward: mlp({ dim: 512 }) });
 */
export const postNorm = defineBlock({
  kind: 'layer',
  name: 'post_norm',
  summary: 'A residual layer that normalises what its sub-layers give.',
  source: 'Vaswani et al. 2017, https://arxiv.org/abs/1706.03762',
  fields: {
    /** input channels. Inherited from the block around. */
    dim: int({ doc: 'input channels', unit: 'channels', min: 1, inherit: true }),
    ...scaleFields,
    ...shortcutFields,
    ...subLayerFields,
    /** norm after each sub-layer. Default: `layer_norm`. */
    norm: each('norm', { doc: 'norm after each sub-layer', default: layerNorm, inside: normBehind }),
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
  create: (c, { path }) =>
    residualLayer(
      c,
      { norm: 'behind', shortcutBias: c.shortcutBias, scale: c.scale, branchScale: c.branchScale, normMemory: false },
      path,
    ),
});
