// Attention with a sigmoid in place of the softmax. Ramapuram et al. 2024, https://arxiv.org/abs/2409.04431
import { type Dim, defineBlock, dropout, num, overPairs, type Pairs, type SequenceContext, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { biased, scoresOf, shown, weighted } from './all-pairs';

/**
 * Sigmoid attention: each weight is a sigmoid of its own score, so that the weights of a query do not compete.
 *
 *     y_i = Σ_j σ(scale · q_i k_jᵀ + bias + b_i) v_j      b_i = −ln n_i, n_i the keys that query i may attend to
 *
 * Without a mask n_i is the length of the sequence, as in the paper. Under a mask only the allowed keys count, so that padding changes nothing and decoding step by
 * step gives what a call on the whole sequence gives. The option `offset` is one b for all queries.
 *
 * Shapes   q [batch, heads, seq, head_dim] · k, v [batch, kv_heads, kv_seq, head_dim] → [batch, heads, seq, head_dim]
 * Dtypes   float32, float16, bfloat16; scores and weights in float32
 * Masks    all kinds
 * Cost     time O(seq · kv_seq · dim), memory O(heads · seq · kv_seq)
 * Throws   ShapeError when q and k differ in head_dim
 * Source   Ramapuram et al. 2024, https://arxiv.org/abs/2409.04431
 * Lowers   everywhere: MatMul, Sigmoid
 * Example  const block = sigmoidAttention({});
 */
export const sigmoidAttention = defineBlock({
  kind: 'attention',
  name: 'sigmoid_attention',
  summary: 'Attention with a sigmoid of each score in place of the softmax.',
  source: 'Ramapuram et al. 2024, https://arxiv.org/abs/2409.04431',
  masks: 'all',
  fields: {
    /** scale of the scores; default 1 / √head_dim. Optional. */
    scale: num({ doc: 'scale of the scores; default 1 / √head_dim', above: 0, optional: true }),
    /** b, added to all scores; default −ln of the number of keys that a query may attend to. Optional. */
    offset: num({
      doc: 'b, added to all scores; default −ln of the number of keys that a query may attend to',
      optional: true,
    }),
    /** dropout probability of attention weights in training. Default: `0`. */
    dropout: num({ doc: 'dropout probability of attention weights in training', min: 0, max: 0.99, default: 0 }),
  },
  examples: [{}, { scale: 0.3, offset: -2 }],
  properties: ['batchIndependent', 'permutationEquivariant'],
  create({ scale, offset, dropout: probability }) {
    return (queries: Value, keys: Value, values: Value, context: SequenceContext) =>
      overPairs(queries, keys, values, context, (q, k, v, pairs, ctx) => {
        const scores = biased(scoresOf(q, k, scale), ctx);
        const moved = offset === undefined ? ops.sub(scores, ops.log(keysOf(scores, pairs))) : ops.add(scores, offset);
        return weighted(dropout(shown(ops.sigmoid(moved), pairs), probability), v);
      });
  },
});

/** The number of keys that each query may attend to, at least 1, float32 [batch or 1, heads or 1, seq or 1, 1]. */
function keysOf(scores: Value, { keep }: Pairs): Value {
  const kvSeq = scores.dims[3]!;
  const all = keep ? keep.dims.slice(0, 3) : [1, 1, 1];
  const counted = keep ?? ops.fill(scores, [1, 1, 1, 1], 1, 'bool');
  const flags = ops.expand(ops.cast(counted, 'float32'), [...(all as Dim[]), kvSeq]);
  return ops.max(ops.reduceSum(flags, [-1]), 1);
}
