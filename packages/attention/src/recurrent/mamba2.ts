// Selective state spaces with one decay per head. Dao and Gu 2024, https://arxiv.org/abs/2405.21060
import {
  ConfigError,
  type Dim,
  defineBlock,
  init,
  int,
  linear,
  module,
  num,
  Parameter,
  type SequenceContext,
  type Value,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { useCausalConvWithState } from '../kernels/causal-conv-with-state';
import { recurrenceRules } from '../kernels/linear-attention';
import { inOrder, named, ofReal, realRows, recurrence, rememberingConvolution, wide } from './between-calls';
import { checkShared, convolutionFields, epsField, headFields } from './fields';
import { decayRates, timeSteps } from './initial-rates';

/**
 * Mamba-2: a state space model whose decay, input and output depend on the position (SSD).
 *
 *     h_t = exp(−Δ_t exp(A_log)) h_{t−1} + Δ_t B_t x_tᵀ      y_t = h_tᵀ C_t + D x_t      out = W_o norm(y ∘ silu(z))
 *     [z, u, Δ̃] = W x      [x, B, C] = silu(conv(u))      Δ = softplus(Δ̃ + dt_bias)
 *
 * Padding changes neither the state nor the convolution. The parameters have the names and layouts of Mamba2 in Transformers.
 *
 * Shapes   x [batch, seq, dim], packed [tokens, dim] → the same; kept between calls: conv [batch, channels, convWidth − 1],
 *          recurrent [batch, heads, stateDim, headDim] in float32
 * Dtypes   float32, float16, bfloat16; the recurrence in float32
 * Masks    causal, lengths, keyPadding; it is causal by itself
 * Cost     time O(seq · heads · headDim · (dim + stateDim)), memory O(seq · heads · headDim · (1 + stateDim / 64)); a step O(1)
 * Throws   ConfigError when groups does not divide heads, for another mask and for an attention bias
 * Source   Dao and Gu 2024, https://arxiv.org/abs/2405.21060
 * Lowers   cpu, wasm, cuda: LinearAttention, CausalConvWithState, RMSNormalization · webgpu: LinearAttention, CausalConvWithState · portable:
 *          MatMul in chunks of 64 positions, Loop over chunks, Conv, RMSNormalization from opset 23
 * Example  const block = mamba2({ dim: 512, heads: 16, stateDim: 64 });
 */
export const mamba2 = defineBlock({
  kind: 'mixer',
  name: 'mamba2',
  summary: 'A state space model whose decay, input and output depend on the position.',
  source: 'Dao and Gu 2024, https://arxiv.org/abs/2405.21060',
  masks: inOrder,
  fields: {
    /** channels. Inherited from the enclosing block. */
    dim: headFields.dim,
    /** heads. Inherited from the enclosing block. */
    heads: headFields.heads,
    /** channels of a head; if absent, 2 dim / heads. Default: computed from other options. */
    headDim: int({
      doc: 'channels of a head; if absent, 2 dim / heads',
      unit: 'channels',
      min: 1,
      default: (c: { dim: number; heads: number }) => Math.ceil((2 * c.dim) / c.heads),
    }),
    /** size of the state for each channel (state_size) (channels). Default: `128`. */
    stateDim: int({ doc: 'size of the state for each channel (state_size)', unit: 'channels', min: 1, default: 128 }),
    /** inputs and outputs of the state; each one serves heads / groups heads (n_groups). Default: `1`. */
    groups: int({ doc: 'inputs and outputs of the state; each one serves heads / groups heads (n_groups)', min: 1, default: 1 }),
    ...convolutionFields,
    /** smallest time step. Default: `0`. */
    minTimeStep: num({ doc: 'smallest time step', min: 0, default: 0 }),
    /** largest time step; absent: no bound. Optional. */
    maxTimeStep: num({ doc: 'largest time step; absent: no bound', above: 0, optional: true }),
    /** added to the mean square in the norm of the results. Default: `0.00001`. */
    eps: epsField(1e-5),
  },
  examples: [
    { dim: 7, heads: 3, headDim: 5, stateDim: 4 },
    { dim: 5, heads: 4, headDim: 3, stateDim: 7, groups: 2, convWidth: 3, minTimeStep: 0.01, maxTimeStep: 0.5 },
  ],
  properties: ['batchIndependent', 'causal', 'deterministic', 'linear'],
  rules: [...recurrenceRules, useCausalConvWithState],
  create({ dim, heads, headDim, stateDim, groups, convWidth, minTimeStep, maxTimeStep, eps }, { path }) {
    checkShared(heads, 'groups', groups, path);
    if (maxTimeStep !== undefined && maxTimeStep <= minTimeStep)
      throw new ConfigError({
        path: `${path}.maxTimeStep`,
        problem: 'not larger than minTimeStep',
        expected: `above ${minTimeStep}`,
        got: String(maxTimeStep),
      });
    const inner = heads * headDim;
    const shared = groups * stateDim;
    const channels = inner + 2 * shared;
    const in_proj = linear(dim, inner + channels + heads, { bias: false, role: 'value' });
    const convolution = rememberingConvolution(channels, convWidth, { bias: true });
    const dt_bias = new Parameter([heads], init.values(timeSteps(heads)), { role: 'mechanism', part: 'other' });
    const A_log = new Parameter([heads], init.values(decayRates(heads, 1, 16)), { role: 'mechanism', part: 'other' });
    const D = new Parameter([heads], init.ones, { role: 'mechanism', part: 'other' });
    const scale = new Parameter([inner], init.ones, { role: 'norm', part: 'weight' });
    const out_proj = linear(inner, dim, { bias: false, role: 'output', biasInit: init.zeros });
    const children = {
      in_proj,
      conv1d: convolution.parameters,
      dt_bias,
      A_log,
      D,
      norm: named({ weight: scale }),
      out_proj,
    };
    return module(children, (given: Value, ctx: SequenceContext) => {
      const [batch, seq] = given.dims as readonly [Dim, Dim];
      const { real } = realRows(given, ctx, path);
      const own = (p: Parameter): Value => wide(given.graph.root.param(p));
      const part = (v: Value, from: number, width: number): Value =>
        ops.slice(v, { axes: [2], starts: [from], ends: [from + width] });
      const projected = in_proj(given);
      const z = wide(part(projected, 0, inner));
      const mixed = wide(convolution.apply(part(projected, inner, channels), ctx, real));
      const x = ops.reshape(part(mixed, 0, inner), [batch, seq, heads, headDim]);
      const [k, q] = [inner, inner + shared].map((from) =>
        ops.reshape(part(mixed, from, shared), [batch, seq, groups, stateDim]),
      );
      const raw = ops.softplus(ops.add(wide(part(projected, inner + channels, heads)), own(dt_bias)));
      const atLeast = minTimeStep > 0 ? ops.max(raw, minTimeStep) : raw;
      const bounded = maxTimeStep === undefined ? atLeast : ops.min(atLeast, maxTimeStep);
      // A time step of 0 leaves the state as it is.
      const step = ofReal(real, bounded);
      const decay = ops.neg(ops.mul(step, ops.exp(own(A_log))));
      const v = ops.mul(x, ops.unsqueeze(step, [3]));
      const y = recurrence(ctx, { q: q!, k: k!, v, decay });
      const whole = ops.add(y, ops.mul(x, ops.reshape(own(D), [heads, 1])));
      const gated = ops.mul(ops.reshape(whole, [batch, seq, inner]), ops.silu(z));
      return out_proj(ops.cast(ops.rmsNorm(gated, own(scale), { epsilon: eps }), given.dtype));
    });
  },
});
