// Mixing positions and channels by a Fourier transform. Lee-Thorp et al. 2021, https://arxiv.org/abs/2105.03824
import {
  bool,
  ConfigError,
  choice,
  defineBlock,
  dropout,
  init,
  int,
  linear,
  mergeHeads,
  module,
  num,
  type SequenceContext,
  slot,
  splitHeads,
  type Value,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';

/**
 * The real part of the Fourier transform over positions and channels, without scaling.
 *
 *     y[t, c] = Re Σ_s Σ_j x[s, j] exp(−2πi (s t / seq + j c / width))      width = dim / heads, each head by itself;
 *                                                                           x rotated by its positions if there is a rotary embedding
 *
 * Shapes   x [batch, seq, dim] → the same
 * Dtypes   float32, float16, bfloat16
 * Masks    none: every position is mixed into every other, padding too; compat: 'xformers' ignores masks
 * Cost     time O(seq · dim · (√seq + √width)), less with a DFT kernel; for an unknown or prime length of more than 256 O(seq²/64 · dim);
 *          memory O(seq · dim), for an unknown length also O((seq/32)²)
 * Throws   ConfigError when heads does not divide dim, and for a mask
 * Source   Lee-Thorp et al. 2021, https://arxiv.org/abs/2105.03824 (one head, no projection)
 * Lowers   cuda, webgpu: MatMul with cosines and sines · elsewhere: MatMul likewise, DFT if the number of channels is a power of two
 * Example  const block = fourierMix({ dim: 64 });
 */
export const fourierMix = defineBlock({
  kind: 'mixer',
  name: 'fourier_mix',
  summary: 'Mixes positions and channels by a Fourier transform.',
  source: 'Lee-Thorp et al. 2021, https://arxiv.org/abs/2105.03824',
  masks: ({ compat }) => (compat ? 'all' : []),
  fields: {
    /** channels. Inherited from the enclosing block. */
    dim: int({ doc: 'channels', unit: 'channels', min: 1, inherit: true }),
    /** groups of channels, each with a transform of its own. Default: `1`. */
    heads: int({ doc: 'groups of channels, each with a transform of its own', min: 1, default: 1 }),
    /** a linear map after the transform. Default: `false`. */
    outputProjection: bool({ doc: 'a linear map after the transform', default: false }),
    /** the linear map after the transform has a bias. Default: `true`. */
    bias: bool({ doc: 'the linear map after the transform has a bias', default: true }),
    /** dropout probability of the result in training. Default: `0`. */
    dropout: num({ doc: 'dropout probability of the result in training', min: 0, max: 0.99, default: 0 }),
    /** rotary embedding of each head, before the transform. Optional. */
    rotaryEmbedding: slot('rotaryEmbedding', {
      doc: 'rotary embedding of each head, before the transform',
      optional: true,
      inside: (c: { dim: number; heads: number }) => ({ dim: Math.floor(c.dim / c.heads) }),
    }),
    /** xformers: used as cross attention it mixes the queries, and ignores masks. Optional. */
    compat: choice(['xformers'], {
      doc: 'xformers: used as cross attention it mixes the queries, and ignores masks',
      optional: true,
    }),
  },
  examples: [{ dim: 7 }, { dim: 16, heads: 2 }, { dim: 10, heads: 2, outputProjection: true }],
  properties: ['batchIndependent'],
  create({ dim, heads, outputProjection, bias, dropout: probability, rotaryEmbedding }, { path }) {
    if (dim % heads)
      throw new ConfigError({
        path: `${path}.heads`,
        problem: 'the number of channels is not a multiple of the number of heads',
        expected: `a divisor of dim = ${dim}`,
        got: String(heads),
      });
    const o_proj = outputProjection ? linear(dim, dim, { bias, role: 'output', biasInit: init.zeros }) : undefined;
    const turned = (x: Value, ctx: SequenceContext): Value => {
      if (!rotaryEmbedding) return x;
      const byHead = splitHeads(x, heads, ctx.layout);
      return mergeHeads(rotaryEmbedding(byHead, byHead, ctx)[0], ctx.layout);
    };
    return module({ o_proj, rotary_emb: rotaryEmbedding }, (x: Value, ctx: SequenceContext) => {
      const [batch, seq] = x.dims;
      const byHead = ops.reshape(turned(x, ctx), [batch!, seq!, heads, dim / heads]);
      const spectrum = ops.dft(ops.dft(ops.unsqueeze(byHead, [4]), { axis: 3 }), { axis: 1 });
      const real = ops.squeeze(ops.slice(spectrum, { axes: [4], starts: [0], ends: [1] }), [4]);
      const y = dropout(ops.reshape(real, x.dims), probability);
      return o_proj ? o_proj(y) : y;
    });
  },
});
