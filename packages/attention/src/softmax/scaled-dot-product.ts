// Scaled dot-product attention: softmax attention over all keys. Vaswani et al. 2017, https://arxiv.org/abs/1706.03762
import {
  and,
  attend,
  bool,
  causal as causalMask,
  defineBlock,
  module,
  num,
  type SequenceContext,
  type Value,
  withContext,
} from '@onnxformers/core';
import { kernels } from '../kernels/index';
import { scoreFields, scoresBy } from './scores';

/**
 * Scaled dot-product attention: softmax attention over all keys that the mask allows.
 *
 *     y = softmax(mask(softcap(scale · q kᵀ) + bias)) v
 *
 * With sinks the softmax of a row has one more logit z, whose share has no value: weight_j = exp(s_j) / (exp(z) + Σ exp(s)).
 *
 * Shapes   q [batch, heads, seq, head_dim] · k, v [batch, kv_heads, kv_seq, head_dim] → [batch, heads, seq, head_dim]
 * Dtypes   float32, float16, bfloat16; softmax in float32
 * Masks    all kinds
 * Cost     time O(seq · kv_seq · dim), memory O(seq) fused, O(seq · kv_seq) decomposed
 * Throws   ShapeError when q and k differ in head_dim, or learned sinks are for another number of heads · ConfigError for learned sinks without heads
 * Source   Vaswani et al. 2017, https://arxiv.org/abs/1706.03762 (head_dim is their d_k); sinks: Xiao et al. 2023, https://arxiv.org/abs/2309.17453
 * Lowers   cuda: MultiHeadAttention, GroupQueryAttention, Attention, packed PackedMultiHeadAttention, PagedAttention, RestorePadding · cpu, wasm:
 *          MultiHeadAttention, GroupQueryAttention, Attention · webgpu: MultiHeadAttention, GroupQueryAttention · portable: primitives
 * Example  const block = scaledDotProduct({ causal: true });
 */
export const scaledDotProduct = defineBlock({
  kind: 'attention',
  name: 'scaled_dot_product',
  summary: 'Scaled dot-product attention over all keys that the mask allows.',
  source: 'Vaswani et al. 2017, https://arxiv.org/abs/1706.03762',
  masks: 'all',
  fields: {
    /** causal mask: a query attends to no later position. Default: `false`. */
    causal: bool({ doc: 'causal mask: a query attends to no later position', default: false }),
    ...scoreFields,
    /** dropout probability of attention weights in training. Default: `0`. */
    dropout: num({ doc: 'dropout probability of attention weights in training', min: 0, max: 0.99, default: 0 }),
  },
  examples: [{}, { causal: true }, { scale: 0.3, softcap: 5 }, { causal: true, sinks: 'learned', heads: 3 }, { sinks: 'zero' }],
  properties: ({ causal }) => (causal ? ['batchIndependent', 'causal'] : ['batchIndependent', 'permutationEquivariant']),
  rules: kernels,
  create(c, { path }) {
    const { causal, dropout } = c;
    const { record, options } = scoresBy(c, path);
    return module(record, (q: Value, k: Value, v: Value, ctx: SequenceContext) => {
      const mask = causal ? and(ctx.mask, causalMask) : ctx.mask;
      return attend(q, k, v, withContext(ctx, { mask }), { ...options(q), ...(dropout && { dropout }) });
    });
  },
});
