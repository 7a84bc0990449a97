// A recurrence that forgets at a fixed rate for each head. Sun et al. 2023, https://arxiv.org/abs/2307.08621
import { defineBlock, init, linear, module, num, Parameter, type SequenceContext, slot, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { recurrenceRules } from '../kernels/linear-attention';
import { inOrder, named, ofReal, realRows, recurrence, wide } from './between-calls';
import { headFields } from './fields';
import { gatedHeads, inHeads, projectionsOf } from './projections';

/**
 * Multi-scale retention (RetNet): attention without a softmax, whose weights decay with the distance of the key, in each head at another rate.
 *
 *     o_t = Σ_{j ≤ t} γ_h^(t−j) (q_t k_jᵀ) v_j / √headDim      γ_h = 1 − 2^(−5−h), heads counted from 0
 *     S_t = γ_h S_{t−1} + k_tᵀ v_t      o_t = q_t S_t / √headDim      the same as a recurrence
 *     y_t = W_o (silu(W_g x_t) ∘ groupNorm(o_t))      one group for each head
 *
 * The decay and a rotation of queries and keys (`rotaryEmbedding`: `rotary`) are together the xPos of the paper: a complex number γ_h e^(iθ) to the power of the
 * distance. The paper's models have a rotation, and `valueHeadDim` 2 · headDim. Padding does not change the state.
 *
 * Shapes   x [batch, seq, dim], packed [tokens, dim] → the same; kept between calls: recurrent [batch, heads, headDim, valueHeadDim] in float32
 * Dtypes   float32, float16, bfloat16; the recurrence and the norm in float32
 * Masks    causal, lengths, keyPadding; it is causal by itself
 * Cost     time O(seq · heads · (headDim + valueHeadDim) · dim), memory O(seq · (dim + heads · headDim · valueHeadDim / 64)); a step O(1)
 * Throws   ConfigError for another mask and for an attention bias; with a rotation, for a growing cache in a model without attention that has one
 * Source   Sun et al. 2023, https://arxiv.org/abs/2307.08621
 * Lowers   cpu, wasm, webgpu, cuda: LinearAttention, LayerNormalization · portable: MatMul in chunks of 64 positions, Loop over chunks, LayerNormalization
 * Example  const block = retention({ dim: 512, heads: 8, rotaryEmbedding: rotary({ dim: 64 }) });
 */
export const retention = defineBlock({
  kind: 'mixer',
  name: 'retention',
  summary: 'Attention without a softmax, whose weights decay with the distance at a fixed rate for each head.',
  source: 'Sun et al. 2023, https://arxiv.org/abs/2307.08621',
  masks: inOrder,
  fields: {
    ...headFields,
    /** added to the variance in the norm of the results. Default: `0.00001`. */
    eps: num({ doc: 'added to the variance in the norm of the results', min: 0, default: 1e-5 }),
    /** rotary embedding of queries and keys. Optional. */
    rotaryEmbedding: slot('rotaryEmbedding', {
      doc: 'rotary embedding of queries and keys',
      optional: true,
      inside: (c: { headDim: number }) => ({ dim: c.headDim }),
    }),
  },
  examples: [
    { dim: 10, heads: 3, headDim: 5 },
    { dim: 7, heads: 2, headDim: 6, valueHeadDim: 5, rotaryEmbedding: 'rotary' },
  ],
  properties: ['batchIndependent', 'causal', 'deterministic', 'linear'],
  rules: recurrenceRules,
  create({ dim, heads, headDim, valueHeadDim, eps, rotaryEmbedding }, { path }) {
    const maps = projectionsOf({ dim, heads, headDim, valueHeadDim }, false);
    const g_proj = linear(dim, heads * valueHeadDim, { bias: false, role: 'mechanism' });
    const weight = new Parameter([heads * valueHeadDim], init.ones, { role: 'norm', part: 'weight' });
    const bias = new Parameter([heads * valueHeadDim], init.zeros, { role: 'norm', part: 'bias' });
    const children = { ...maps, g_proj, group_norm: named({ weight, bias }), rotary_emb: rotaryEmbedding };
    const rates = Array.from({ length: heads }, (_, h) => Math.log1p(-(2 ** (-5 - h))));
    return module(children, (x: Value, ctx: SequenceContext) => {
      const g = x.graph.root;
      const { real } = realRows(x, ctx, path);
      const unturned = [inHeads(maps.q_proj(x), heads), inHeads(maps.k_proj(x), heads)] as const;
      const exchanged = (v: Value): Value => ops.transpose(v, [0, 2, 1, 3]);
      const [q, k] = rotaryEmbedding
        ? rotaryEmbedding(exchanged(unturned[0]), exchanged(unturned[1]), ctx).map(exchanged)
        : unturned;
      const v = inHeads(maps.v_proj(x), heads);
      const decay = ofReal(real, ops.expand(g.number(rates, 'float32'), v.dims.slice(0, 3)));
      const o = recurrence(ctx, { q: q!, k: ofReal(real, k!), v, decay, scale: 1 / Math.sqrt(headDim) });
      const perHead = (p: Parameter): Value => ops.reshape(wide(g.param(p)), [heads, valueHeadDim]);
      const normed = ops.layerNorm(o, ops.fill(x, [valueHeadDim], 1, 'float32'), undefined, { epsilon: eps });
      return maps.o_proj(gatedHeads(ops.add(ops.mul(normed, perHead(weight)), perHead(bias)), g_proj(x)));
    });
  },
});
