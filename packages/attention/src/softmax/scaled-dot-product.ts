// Scaled dot-product attention: softmax attention over all keys. Vaswani et al. 2017, https://arxiv.org/abs/1706.03762
import {
  and,
  attend,
  bool,
  causal as causalMask,
  defineBlock,
  num,
  type SequenceContext,
  type Value,
  withContext,
} from '@onnxformers/core';
import { kernels } from '../kernels/index';

/**
 * Scaled dot-product attention: softmax attention over all keys that the mask allows.
 *
 *     y = softmax(mask(softcap(scale · q kᵀ) + bias)) v
 *
 * Shapes   q [batch, heads, seq, head_dim] · k, v [batch, kv_heads, kv_seq, head_dim] → [batch, heads, seq, head_dim]
 * Dtypes   float32, float16, bfloat16; softmax in float32
 * Masks    all kinds
 * Cost     time O(seq · kv_seq · dim), memory O(seq) fused, O(seq · kv_seq) decomposed
 * Throws   ShapeError when q and k differ in head_dim
 * Source   Vaswani et al. 2017, https://arxiv.org/abs/1706.03762 (head_dim is their d_k)
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
    /** scale of the scores; default 1 / √head_dim. Optional. */
    scale: num({ doc: 'scale of the scores; default 1 / √head_dim', above: 0, optional: true }),
    /** bound on the scores: softcap · tanh(score / softcap); absent: no bound. Optional. */
    softcap: num({ doc: 'bound on the scores: softcap · tanh(score / softcap); absent: no bound', above: 0, optional: true }),
    /** dropout probability of attention weights in training. Default: `0`. */
    dropout: num({ doc: 'dropout probability of attention weights in training', min: 0, max: 0.99, default: 0 }),
  },
  examples: [{}, { causal: true }, { scale: 0.3, softcap: 5 }],
  properties: ({ causal }) => (causal ? ['batchIndependent', 'causal'] : ['batchIndependent', 'permutationEquivariant']),
  rules: kernels,
  create({ causal, scale, softcap, dropout }) {
    return (q: Value, k: Value, v: Value, ctx: SequenceContext) => {
      const mask = causal ? and(ctx.mask, causalMask) : ctx.mask;
      return attend(q, k, v, withContext(ctx, { mask }), {
        ...(scale !== undefined && { scale }),
        ...(softcap !== undefined && { softcap }),
        ...(dropout && { dropout }),
      });
    };
  },
});
