// A recurrence that forgets, and replaces what a key retrieves. Yang et al. 2024, https://arxiv.org/abs/2412.06464
import { type Dim, defineBlock, init, int, linear, module, Parameter, type SequenceContext, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { useCausalConvWithState } from '../kernels/causal-conv-with-state';
import { recurrenceRules } from '../kernels/linear-attention';
import { inOrder, named, ofReal, realRows, recurrence, rememberingConvolution, wide } from './between-calls';
import { checkShared, convolutionFields, epsField, headFields } from './fields';
import { decayRates } from './initial-rates';

/**
 * Gated delta net: each key replaces what it retrieves from a matrix, which decays with every position.
 *
 *     S_t = α_t S_{t−1} (1 − β_t k_t k_tᵀ) + β_t v_t k_tᵀ      o_t = S_t q_t / √headDim      y_t = W_o (norm(o_t) ∘ silu(z_t))
 *     [q, k, v] = silu(conv(W_qkv x)), q and k of length 1      β = σ(W_b x)      ln α = −exp(A_log) · softplus(W_a x + dt_bias)
 *
 * Padding changes neither the state nor the convolution. The parameters have the names and layouts of Qwen3-Next.
 *
 * Shapes   x [batch, seq, dim], packed [tokens, dim] → the same; kept between calls: conv [batch, channels, convWidth − 1],
 *          recurrent [batch, heads, headDim, valueHeadDim] in float32
 * Dtypes   float32, float16, bfloat16; the recurrence in float32
 * Masks    causal, lengths, keyPadding; it is causal by itself
 * Cost     time O(seq · (dim² + heads · headDim · valueHeadDim)), memory O(seq · (dim + heads · headDim · valueHeadDim / 64)); a step O(1)
 * Throws   ConfigError when keyHeads does not divide heads, for another mask and for an attention bias
 * Source   Yang et al. 2024, https://arxiv.org/abs/2412.06464
 * Lowers   cpu, wasm, cuda: LinearAttention, CausalConvWithState, RMSNormalization · webgpu: LinearAttention, CausalConvWithState · portable:
 *          MatMul in chunks of 64 positions, Loop over chunks, Conv, RMSNormalization from opset 23
 * Example  const block = gatedDeltaNet({ dim: 512, heads: 8, keyHeads: 4, headDim: 64 });
 */
export const gatedDeltaNet = defineBlock({
  kind: 'mixer',
  name: 'gated_delta_net',
  summary: 'A recurrence that forgets, and replaces what a key retrieves.',
  source: 'Yang et al. 2024, https://arxiv.org/abs/2412.06464',
  masks: inOrder,
  fields: {
    ...headFields,
    ...convolutionFields,
    /** query and key heads; each one serves heads / keyHeads value heads. Default: computed from other options. */
    keyHeads: int({
      doc: 'query and key heads; each one serves heads / keyHeads value heads',
      min: 1,
      default: (c: { heads: number }) => c.heads,
    }),
    /** added to the mean square in the norm of the results. Default: `0.000001`. */
    eps: epsField(1e-6),
  },
  examples: [
    { dim: 12, heads: 3, headDim: 5 },
    { dim: 10, heads: 6, keyHeads: 2, headDim: 3, valueHeadDim: 5, convWidth: 3 },
  ],
  properties: ['batchIndependent', 'causal', 'deterministic', 'linear'],
  rules: [...recurrenceRules, useCausalConvWithState],
  create({ dim, heads, keyHeads, headDim, valueHeadDim, convWidth, eps }, { path }) {
    checkShared(heads, 'keyHeads', keyHeads, path);
    const group = heads / keyHeads;
    const [keyWidth, valueWidth] = [keyHeads * headDim, heads * valueHeadDim];
    const channels = 2 * keyWidth + valueWidth;
    const in_proj_qkvz = linear(dim, channels + valueWidth, { bias: false, role: 'query' });
    const in_proj_ba = linear(dim, 2 * heads, { bias: false, role: 'router' });
    const convolution = rememberingConvolution(channels, convWidth, { bias: false });
    const dt_bias = new Parameter([heads], init.ones, { role: 'mechanism', part: 'other' });
    const A_log = new Parameter([heads], init.values(decayRates(heads, 0, 16)), { role: 'mechanism', part: 'other' });
    const scale = new Parameter([valueHeadDim], init.ones, { role: 'norm', part: 'weight' });
    const out_proj = linear(valueWidth, dim, { bias: false, role: 'output', biasInit: init.zeros });
    const children = {
      in_proj_qkvz,
      in_proj_ba,
      conv1d: convolution.parameters,
      dt_bias,
      A_log,
      norm: named({ weight: scale }),
      out_proj,
    };
    return module(children, (x: Value, ctx: SequenceContext) => {
      const [batch, seq] = x.dims as readonly [Dim, Dim];
      const { real } = realRows(x, ctx, path);
      const own = (p: Parameter): Value => wide(x.graph.root.param(p));
      const perHead = (v: Value, width: Dim, n: number): Value => ops.reshape(v, [batch, seq, n, width]);
      // The projections of a head of keys are beside each other.
      const grouped = perHead(in_proj_qkvz(x), 2 * headDim + 2 * group * valueHeadDim, keyHeads);
      const part = (v: Value, from: number, width: number): Value =>
        ops.reshape(ops.slice(v, { axes: [3], starts: [from], ends: [from + width] }), [batch, seq, keyHeads * width]);
      const z = perHead(part(grouped, 2 * headDim + group * valueHeadDim, group * valueHeadDim), valueHeadDim, heads);
      const mixed = convolution.apply(
        ops.concat(
          [part(grouped, 0, headDim), part(grouped, headDim, headDim), part(grouped, 2 * headDim, group * valueHeadDim)],
          2,
        ),
        ctx,
        real,
      );
      const channelsOf = (from: number, width: number): Value =>
        wide(ops.slice(mixed, { axes: [2], starts: [from], ends: [from + width] }));
      const q = unit(perHead(channelsOf(0, keyWidth), headDim, keyHeads));
      const k = unit(perHead(channelsOf(keyWidth, keyWidth), headDim, keyHeads));
      const v = perHead(channelsOf(2 * keyWidth, valueWidth), valueHeadDim, heads);
      const gates = perHead(in_proj_ba(x), 2 * group, keyHeads);
      const gate = (from: number): Value => wide(part(gates, from, group));
      const beta = ofReal(real, ops.sigmoid(gate(0)));
      const decay = ofReal(real, ops.mul(ops.neg(ops.exp(own(A_log))), ops.softplus(ops.add(gate(group), own(dt_bias)))));
      const y = recurrence(ctx, { q, k, v, decay, beta, scale: 1 / Math.sqrt(headDim) });
      const gated = ops.mul(ops.rmsNorm(y, own(scale), { epsilon: eps }), ops.silu(wide(z)));
      return out_proj(ops.reshape(ops.cast(gated, x.dtype), [batch, seq, valueWidth]));
    });
  },
});

/** Rows of length 1. */
const unit = (x: Value): Value => ops.div(x, ops.sqrt(ops.add(ops.reduceSum(ops.mul(x, x), [3]), 1e-6)));
