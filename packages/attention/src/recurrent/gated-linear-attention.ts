// A recurrence that forgets each channel of the keys by itself. Yang et al. 2023, https://arxiv.org/abs/2312.06635
import { defineBlock, init, int, linear, module, num, Parameter, type SequenceContext, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { recurrenceRules } from '../kernels/linear-attention';
import { inOrder, named, ofReal, realRows, recurrence, wide } from './between-calls';
import { epsField, headFields } from './fields';
import { gatedHeads, inHeads, projectionsOf } from './projections';

/**
 * Gated linear attention (GLA): keys and values are summed before they meet a query, and each position decides for each channel of the keys how much of the
 * sum is kept.
 *
 *     S_t = diag(α_t) S_{t−1} + k_tᵀ v_t      o_t = q_t S_t / √headDim      y_t = W_o (silu(W_g x_t) ∘ norm(o_t))
 *     α_t = σ(W₂ W₁ x_t + b)^(1 / temperature)      norm: an RMS norm of each head, with the same weights for all
 *
 * Padding does not change the state. The parameters have the names and layouts of flash-linear-attention; the paper's models have heads of dim / (2 heads)
 * channels in queries and keys, and of dim / heads in values.
 *
 * Shapes   x [batch, seq, dim], packed [tokens, dim] → the same; kept between calls: recurrent [batch, heads, headDim, valueHeadDim] in float32
 * Dtypes   float32, float16, bfloat16; the recurrence, the decay and the norm in float32
 * Masks    causal, lengths, keyPadding; it is causal by itself
 * Cost     time O(seq · heads · (headDim + valueHeadDim) · dim), memory O(seq · (dim + heads · headDim · (16 + valueHeadDim / 16))); a step O(1)
 * Throws   ConfigError for another mask and for an attention bias
 * Source   Yang et al. 2023, https://arxiv.org/abs/2312.06635
 * Lowers   cpu, wasm, cuda: LinearAttention, RMSNormalization · webgpu: LinearAttention · portable: MatMul in chunks of 16 positions, Loop over chunks,
 *          RMSNormalization from opset 23
 * Example  const block = gatedLinearAttention({ dim: 512, heads: 4, headDim: 64, valueHeadDim: 128 });
 */
export const gatedLinearAttention = defineBlock({
  kind: 'mixer',
  name: 'gated_linear_attention',
  summary: 'Linear attention that forgets each channel of the keys by itself.',
  source: 'Yang et al. 2023, https://arxiv.org/abs/2312.06635',
  masks: inOrder,
  fields: {
    ...headFields,
    /** channels between the two linear maps of the decay. Default: `16`. */
    gateRank: int({ doc: 'channels between the two linear maps of the decay', unit: 'channels', min: 1, default: 16 }),
    /** divisor of the logarithm of the decay: the larger, the longer is kept. Default: `16`. */
    temperature: num({ doc: 'divisor of the logarithm of the decay: the larger, the longer is kept', above: 0, default: 16 }),
    /** added to the mean square in the norm of the results. Default: `0.00001`. */
    eps: epsField(1e-5),
  },
  examples: [
    { dim: 10, heads: 3, headDim: 5, gateRank: 4 },
    { dim: 7, heads: 2, headDim: 3, valueHeadDim: 5, gateRank: 3, temperature: 2 },
  ],
  properties: ['batchIndependent', 'causal', 'deterministic', 'linear'],
  rules: recurrenceRules,
  create({ dim, heads, headDim, valueHeadDim, gateRank, temperature, eps }, { path }) {
    const maps = projectionsOf({ dim, heads, headDim, valueHeadDim }, false);
    const g_proj = linear(dim, heads * valueHeadDim, { bias: false, role: 'mechanism' });
    const down = linear(dim, gateRank, { bias: false, role: 'mechanism' });
    const up = linear(gateRank, heads * headDim, { role: 'mechanism' });
    const weight = new Parameter([valueHeadDim], init.ones, { role: 'norm', part: 'weight' });
    const children = { ...maps, g_proj, gk_proj: [down, up], g_norm: named({ weight }) };
    return module(children, (x: Value, ctx: SequenceContext) => {
      const { real } = realRows(x, ctx, path);
      const [q, k, v] = [maps.q_proj, maps.k_proj, maps.v_proj].map((map) => inHeads(map(x), heads));
      // ln σ(z) = −softplus(−z)
      const kept = ops.softplus(ops.neg(inHeads(up(down(x)), heads)));
      const decay = ofReal(real, ops.mul(kept, -1 / temperature));
      const o = recurrence(ctx, { q: q!, k: ofReal(real, k!), v: v!, decay, scale: 1 / Math.sqrt(headDim) });
      const normed = ops.rmsNorm(o, wide(x.graph.root.param(weight)), { epsilon: eps });
      return maps.o_proj(gatedHeads(normed, g_proj(x)));
    });
  },
});
