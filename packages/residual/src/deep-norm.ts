// A residual layer for very deep stacks. Wang et al. 2022, https://arxiv.org/abs/2203.00555
import { ConfigError, deepNormCoefficients, defineBlock, each, int, num } from '@onnxformers/core';
import { layerNorm } from './norms/layer-norm';
import { normAfter, residualLayer, shortcutFields, subLayerFields } from './sub-layers';

interface Depths {
  readonly depth: number;
  readonly encoderDepth?: number | undefined;
  readonly decoderDepth?: number | undefined;
}

/** The two coefficients of a layer's stack, from its number of layers and that of its counterpart. */
function coefficients({ depth, encoderDepth, decoderDepth }: Depths) {
  if (encoderDepth !== undefined && decoderDepth !== undefined)
    throw new ConfigError({
      path: 'deep_norm',
      problem: 'encoderDepth and decoderDepth are both set',
      expected: 'encoderDepth in a decoder, decoderDepth in an encoder, or neither',
      got: `encoderDepth ${encoderDepth} and decoderDepth ${decoderDepth}`,
    });
  if (encoderDepth !== undefined) return deepNormCoefficients({ encoderLayers: encoderDepth, decoderLayers: depth }).decoder!;
  return deepNormCoefficients({ encoderLayers: depth, ...(decoderDepth !== undefined && { decoderLayers: decoderDepth }) })
    .encoder!;
}

/**
 * A residual layer for very deep stacks: the residual connection is scaled up, and the initial values of the sub-layers are scaled down.
 *
 *     y = norm(alpha · x + f(x))      for each sub-layer f; initial values of its weights, except queries and keys, times beta
 *
 * Shapes   x [..., seq, dim] → the same, or [..., seq, outDim]
 * Dtypes   float32, float16, bfloat16
 * Cost     that of its sub-layers, and O(seq · dim) for norms and sums
 * Throws   ConfigError for a layer without sub-layers, or both encoderDepth and decoderDepth
 * Source   Wang et al. 2022, https://arxiv.org/abs/2203.00555
 * Lowers   portable: Mul, Add, LayerNormalization · elsewhere: Mul, then sum and norm as SkipLayerNormalization
 * Example  const block = deepNorm({ dim: 512, depth: 100, feedforward: mlp({ dim: 512 }) });
 */
export const deepNorm = defineBlock({
  kind: 'layer',
  name: 'deep_norm',
  summary: 'A residual layer for very deep stacks.',
  source: 'Wang et al. 2022, https://arxiv.org/abs/2203.00555',
  fields: {
    /** input channels. Inherited from the enclosing block. */
    dim: int({ doc: 'input channels', unit: 'channels', min: 1, inherit: true }),
    /** layers of the stack. Inherited from the enclosing block. */
    depth: int({ doc: 'layers of the stack', min: 1, inherit: true }),
    /** in a decoder with an encoder: layers of the encoder. Optional. */
    encoderDepth: int({ doc: 'in a decoder with an encoder: layers of the encoder', min: 1, optional: true }),
    /** in an encoder with a decoder: layers of the decoder. Optional. */
    decoderDepth: int({ doc: 'in an encoder with a decoder: layers of the decoder', min: 1, optional: true }),
    /** factor of the residual connection. Default: computed from other options. */
    alpha: num({ doc: 'factor of the residual connection', default: (c: Depths) => coefficients(c).alpha }),
    /** factor of initial values. Default: computed from other options. */
    beta: num({ doc: 'factor of initial values', default: (c: Depths) => coefficients(c).beta }),
    ...shortcutFields,
    ...subLayerFields,
    /** norm after each sub-layer. Default: `layer_norm`. */
    norm: each('norm', { doc: 'norm after each sub-layer', default: layerNorm, inside: normAfter }),
  },
  examples: [
    { dim: 12, depth: 6, mixer: { name: 'multi_head', heads: 3 }, feedforward: 'mlp' },
    {
      dim: 12,
      depth: 3,
      encoderDepth: 5,
      mixer: { name: 'multi_head', heads: 2 },
      cross: { name: 'multi_head', heads: 3, cross: true },
      feedforward: 'mlp',
    },
  ],
  create: (c, { path }) =>
    residualLayer(c, { after: c.norm, shortcutBias: c.shortcutBias, scale: c.alpha, branchScale: 1, gain: c.beta }, path),
});
