// A residual layer with norms before and after each sub-layer. Ding et al. 2021, https://arxiv.org/abs/2105.13290
import { bool, defineBlock, each, int } from '@onnxformers/core';
import { rmsNorm } from './norms/rms-norm';
import { branchFields, normAfter, normAround, residualLayer, scaleFields, shortcutFields, subLayerFields } from './sub-layers';

/**
 * A residual layer with two norms for each sub-layer: of its input, and of its result before that is added (sandwich norm), as in Gemma 2.
 *
 *     y = scale · x + branchScale · λ ⊙ norm'(f(norm(x)))      for each sub-layer f; λ: learned, if layerScale is set, otherwise 1
 *
 * Without `normBefore` only the results are normalised, x + norm'(f(x)), as in OLMo 2. In training, `stochasticDepth` leaves out the second summand of
 * whole sequences at random, and divides it by 1 − probability for the others. A stack of such layers needs a norm after the last one. A list of
 * norms has those of the first sub-layer, before and after it, then those of the next one.
 *
 * Shapes   x [..., seq, dim] → the same, or [..., seq, outDim]
 * Dtypes   float32, float16, bfloat16
 * Cost     that of its sub-layers, and O(seq · dim) for norms and sums
 * Throws   ConfigError for a layer without sub-layers
 * Source   Ding et al. 2021, https://arxiv.org/abs/2105.13290; Gemma Team 2024, https://arxiv.org/abs/2408.00118; without normBefore: Team OLMo 2025,
 *          https://arxiv.org/abs/2501.00656
 * Lowers   portable: Add, RMSNormalization · elsewhere: SimplifiedLayerNormalization, and sum and norm as SkipSimplifiedLayerNormalization, across
 *          layers too
 * Example  const block = sandwichNorm({ dim: 512, feedforward: mlp({ dim: 512 }) });
 */
export const sandwichNorm = defineBlock({
  kind: 'layer',
  name: 'sandwich_norm',
  summary: 'A residual layer with norms before and after each sub-layer.',
  source: 'Ding et al. 2021, https://arxiv.org/abs/2105.13290',
  fields: {
    /** input channels. Inherited from the enclosing block. */
    dim: int({ doc: 'input channels', unit: 'channels', min: 1, inherit: true }),
    /** norms before the sub-layers; without them only their results are normalised. Default: `true`. */
    normBefore: bool({ doc: 'norms before the sub-layers; without them only their results are normalised', default: true }),
    ...scaleFields,
    ...branchFields,
    ...shortcutFields,
    ...subLayerFields,
    /** norms before and after each sub-layer. Default: `rms_norm`. */
    norm: each('norm', {
      doc: 'norms before and after each sub-layer',
      default: rmsNorm,
      inside: (c, index) => (c.normBefore ? normAround(c, index) : normAfter(c, index)),
    }),
  },
  examples: [
    { dim: 12, mixer: { name: 'multi_head', heads: 3 }, feedforward: 'glu', norm: { name: 'rms_norm', unitOffset: true } },
    {
      dim: 10,
      normBefore: false,
      mixer: { name: 'multi_head', heads: 2 },
      cross: { name: 'multi_head', heads: 5, cross: true },
      feedforward: 'mlp',
    },
    { dim: 10, feedforward: { name: 'mlp', outDim: 7 }, norm: 'layer_norm' },
  ],
  create: ({ norm, ...c }, { path }) => {
    const norms = c.normBefore
      ? { before: (i: number) => norm(2 * i), result: (i: number) => norm(2 * i + 1) }
      : { result: norm };
    return residualLayer(c, { ...c, ...norms }, path);
  },
});
