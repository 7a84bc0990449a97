// A residual layer whose sub-layers read the same input. Wang and Komatsuzaki 2021, https://github.com/kingoflolz/mesh-transformer-jax
import { bool, ConfigError, defineBlock, each, int, module, type SequenceContext, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { layerNorm } from './norms/layer-norm';
import { branch, branchFields, childrenOf, scaleFields, subLayerFields, subLayersOf } from './sub-layers';

/**
 * A residual layer whose sub-layers read the same input and are added together, instead of following each other.
 *
 *     y = scale · x + Σ branchScale · λ_f ⊙ f(norm(x))      over sub-layers f; λ: learned, if layerScale is set, otherwise 1
 *
 * All sub-layers share one norm (GPT-J, PaLM, Falcon, Phi, Cohere), or with `sharedNorm: false` each has its own (GPT-NeoX). In training,
 * `stochasticDepth` leaves out each summand of whole sequences at random, and divides it by 1 − probability for the others. A stack of such
 * layers needs a norm after the last one. The last sum and the norm of the next layer become one kernel, where a target has it.
 *
 * Shapes   x [..., seq, dim] → the same
 * Dtypes   float32, float16, bfloat16
 * Cost     that of its sub-layers, and O(seq · dim) for norms and sums
 * Throws   ConfigError for a layer without sub-layers, and for a sub-layer that changes the number of channels
 * Source   Wang and Komatsuzaki 2021, https://github.com/kingoflolz/mesh-transformer-jax; Chowdhery et al. 2022, https://arxiv.org/abs/2204.02311;
 *          two norms: Black et al. 2022, https://arxiv.org/abs/2204.06745
 * Lowers   everywhere: Add, LayerNormalization
 * Example  const block = parallel({ dim: 512, mixer: multiHead({ dim: 512, heads: 8 }), feedforward: mlp({ dim: 512 }) });
 */
export const parallel = defineBlock({
  kind: 'layer',
  name: 'parallel',
  summary: 'A residual layer whose sub-layers read the same input.',
  source: 'Wang and Komatsuzaki 2021, https://github.com/kingoflolz/mesh-transformer-jax',
  fields: {
    /** channels. Inherited from the enclosing block. */
    dim: int({ doc: 'channels', unit: 'channels', min: 1, inherit: true }),
    /** all sub-layers have one norm together; otherwise each has its own. Default: `true`. */
    sharedNorm: bool({ doc: 'all sub-layers have one norm together; otherwise each has its own', default: true }),
    ...scaleFields,
    ...branchFields,
    ...subLayerFields,
    /** norm before the sub-layers. Default: `layer_norm`. */
    norm: each('norm', { doc: 'norm before the sub-layers', default: layerNorm }),
  },
  examples: [
    { dim: 12, mixer: { name: 'multi_head', heads: 3 }, feedforward: 'mlp' },
    {
      dim: 12,
      mixer: { name: 'multi_head', heads: 2 },
      cross: { name: 'multi_head', heads: 3, cross: true },
      feedforward: 'glu',
      sharedNorm: false,
      norm: 'rms_norm',
    },
    { dim: 10, mixer: { name: 'multi_head', heads: 5 }, feedforward: 'mlp', scale: 0.5, layerScale: 0.3, stochasticDepth: 0.2 },
  ],
  create({ norm, sharedNorm, ...c }, { path }) {
    const shared = sharedNorm ? norm(0) : undefined;
    const subLayers = subLayersOf(c, { ...c, before: sharedNorm ? undefined : norm }, path);
    const wider = subLayers.find(({ shortcut }) => shortcut);
    if (wider)
      throw new ConfigError({
        path: `${path}.${wider.place}`,
        problem: 'the results of parallel sub-layers are added',
        expected: `outDim ${c.dim}`,
        got: `outDim ${wider.block.about.config?.outDim}`,
      });
    return module({ norm: shared, ...childrenOf(subLayers) }, (x: Value, ctx: SequenceContext) => {
      const own = shared?.(x) ?? x;
      return subLayers
        .map((s) => branch(s.before ? s.before(x) : own, ctx, s, c))
        .reduce((sum, y) => ops.add(sum, y), ops.mul(x, c.scale));
    });
  },
});
