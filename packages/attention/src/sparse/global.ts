// Softmax attention of all tokens to a few, and of these to all. Beltagy et al. 2020, https://arxiv.org/abs/2004.05150
import {
  and,
  attend,
  bool,
  causal as causalMask,
  choice,
  defineBlock,
  globalTokens,
  int,
  list,
  num,
  type SequenceContext,
  type Value,
  withContext,
} from '@onnxformers/core';
import { kernels } from '../kernels/index';
import { masksFromTheStart } from './masks-from-the-start';
import { attendPadded } from './stored-sparsely';

/**
 * Softmax attention with global tokens: they attend to all tokens, and all tokens attend to them. Another token does not attend to itself.
 *
 *     y_i = Σ_j softmax_j(scale · q_i k_jᵀ + bias) v_j      i or j is a global token; j ≤ i if causal
 *
 * Shapes   q [batch, heads, seq, head_dim] · k, v [batch, kv_heads, kv_seq, head_dim] → [batch, heads, seq, head_dim]
 * Dtypes   float32, float16, bfloat16; softmax in float32
 * Masks    causal, causalFromTopLeft, window, windowFromTopLeft, dilated, prefix, global, blocks, random, lengths, documents, documentIds, dense,
 *          expression, or, not; each together with the pattern. Positions are counted from the start of the batch's rows, so padding is allowed only on
 *          the right, as lengths
 * Cost     time and memory O((seq + kv_seq) · tokens · dim) without a mask or under lengths; otherwise O(seq · kv_seq · dim)
 * Throws   ConfigError for a padding mask or a memory; with compat also for a cache, a packed layout and an attention bias
 * Source   Beltagy et al. 2020, https://arxiv.org/abs/2004.05150; Zaheer et al. 2020, https://arxiv.org/abs/2007.14062
 * Lowers   portable: the attention of all queries to the global tokens, and of these to all keys, as two attentions without a mask ·
 *          elsewhere: the same by MultiHeadAttention, which under other masks has the pattern as a tensor · cpu, cuda: Attention
 * Example  const block = globalAttention({ tokens: [0, 17] });
 */
export const globalAttention = defineBlock({
  kind: 'attention',
  name: 'global',
  summary: 'Softmax attention of all tokens to a few, and of these to all.',
  source: 'Beltagy et al. 2020, https://arxiv.org/abs/2004.05150',
  masks: masksFromTheStart,
  fields: {
    /** positions of the global tokens. Default: `[0]`. */
    tokens: list(int({ doc: 'a position', unit: 'positions', min: 0, max: 2 ** 20 }), {
      doc: 'positions of the global tokens',
      unit: 'positions',
      default: [0],
    }),
    /** no token attends to a later one. Default: `false`. */
    causal: bool({ doc: 'no token attends to a later one', default: false }),
    /** dropout probability of attention weights in training. Default: `0`. */
    dropout: num({ doc: 'dropout probability of attention weights in training', min: 0, max: 0.99, default: 0 }),
    /** xformers: causal is ignored, shorter sequences are padded with keys of score 0, and sparse patterns omit some of their pairs. Optional. */
    compat: choice(['xformers'], {
      doc: 'xformers: causal is ignored, shorter sequences are padded with keys of score 0, and sparse patterns omit some of their pairs',
      optional: true,
    }),
    /** only with compat: the length that sequences are padded to (positions). Optional. */
    seqLen: int({ doc: 'only with compat: the length that sequences are padded to', unit: 'positions', min: 1, optional: true }),
    /** only with compat: every pattern is treated as sparse. Default: `false`. */
    forceSparsity: bool({ doc: 'only with compat: every pattern is treated as sparse', default: false }),
  },
  examples: [{ tokens: [0] }, { tokens: [2, 7], causal: true }, { tokens: [4, 1], compat: 'xformers', seqLen: 13 }],
  properties: (c) =>
    c.compat
      ? ['batchIndependent', ...(c.seqLen ? (['fixedLength'] as const) : [])]
      : ['batchIndependent', 'linear', ...(c.causal ? (['causal'] as const) : [])],
  rules: kernels,
  create({ tokens, causal, dropout, compat, seqLen, forceSparsity }, { path }) {
    const pattern = globalTokens(tokens);
    return (q: Value, k: Value, v: Value, ctx: SequenceContext) => {
      if (compat) return attendPadded(q, k, v, pattern, ctx, { path, seqLen, forceSparsity, dropout });
      const mask = and<Value>(ctx.mask, pattern, ...(causal ? [causalMask] : []));
      return attend(q, k, v, withContext(ctx, { mask }), { dropout });
    };
  },
});
