// Attention whose heads exchange scores before the softmax and weights after it. Shazeer et al. 2020, https://arxiv.org/abs/2003.02436
import {
  bool,
  type Dim,
  defineBlock,
  dropout,
  init,
  int,
  module,
  mulDims,
  num,
  overPairs,
  Parameter,
  type SequenceContext,
  type Value,
} from '@onnxformers/core';
import { maskedScore } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';
import { biased, scoresOf, shown, weighted } from './all-pairs';

/**
 * Talking-heads attention: a linear map over the heads before the softmax, and another one after it.
 *
 *     y_h = Σ_g P_w[h, g] softmax(mask(Σ_f P_l[g, f] scale · q_f k_fᵀ + bias_g)) v_h
 *
 * Shapes   q [batch, heads, seq, head_dim] · k, v [batch, kv_heads, kv_seq, head_dim] → [batch, heads, seq, head_dim]
 * Dtypes   float32, float16, bfloat16; scores and softmax in float32
 * Masks    all kinds; heads with masks of their own exchange the weights of the keys that they see
 * Cost     time O(seq · kv_seq · (dim + heads²)), memory O(heads · seq · kv_seq)
 * Throws   ShapeError when q has another number of heads, or q and k differ in head_dim
 * Source   Shazeer et al. 2020, https://arxiv.org/abs/2003.02436; with biases: Touvron et al. 2021, https://arxiv.org/abs/2103.17239
 * Lowers   everywhere: MatMul, Softmax, because no kernel mixes heads
 * Example  const block = talkingHeads({ heads: 8 });
 */
export const talkingHeads = defineBlock({
  kind: 'attention',
  name: 'talking_heads',
  summary: 'Softmax attention whose heads exchange scores before the softmax and weights after it.',
  source: 'Shazeer et al. 2020, https://arxiv.org/abs/2003.02436',
  masks: 'all',
  fields: {
    /** query heads. Inherited from the enclosing block. */
    heads: int({ doc: 'query heads', min: 1, max: 4096, inherit: true }),
    /** the maps over the heads have a bias. Default: `false`. */
    bias: bool({ doc: 'the maps over the heads have a bias', default: false }),
    /** scale of the scores; default 1 / √head_dim. Optional. */
    scale: num({ doc: 'scale of the scores; default 1 / √head_dim', above: 0, optional: true }),
    /** dropout probability of attention weights in training. Default: `0`. */
    dropout: num({ doc: 'dropout probability of attention weights in training', min: 0, max: 0.99, default: 0 }),
  },
  examples: [{ heads: 3 }, { heads: 5, bias: true, scale: 0.3 }],
  properties: ['batchIndependent', 'permutationEquivariant'],
  create({ heads, bias, scale, dropout: probability }) {
    const [proj_l, proj_w] = [overHeads(heads, bias), overHeads(heads, bias)];
    return module({ proj_l, proj_w }, (queries: Value, keys: Value, values: Value, context: SequenceContext) =>
      overPairs(queries, keys, values, context, (q, k, v, pairs, ctx) => {
        const scores = biased(proj_l(scoresOf(q, k, scale)), ctx);
        const hidden = pairs.keep && maskedScore(scores, pairs.some, 'float32', q.graph.ops);
        const weights = ops.softmax(pairs.keep ? ops.where(pairs.keep, scores, hidden!) : scores, -1);
        return weighted(dropout(shown(proj_w(shown(weights, pairs)), pairs), probability), v);
      }),
    );
  },
});

/** A linear map over the heads of [batch, heads, seq, kv_seq]. */
function overHeads(heads: number, hasBias: boolean) {
  const weight = new Parameter([heads, heads], init.fanIn(), { role: 'mechanism', part: 'weight' });
  const bias = hasBias ? new Parameter([heads], init.fanIn(heads), { role: 'mechanism', part: 'bias' }) : undefined;
  return module({ weight, bias }, (x: Value) => {
    const [batch, , seq, kvSeq] = x.dims as [Dim, Dim, Dim, Dim];
    const inFloat32 = (p: Parameter): Value => ops.cast(x.graph.root.param(p), 'float32');
    const mixed = ops.matmul(inFloat32(weight), ops.reshape(x, [batch, heads, mulDims(seq, kvSeq)]));
    const y = ops.reshape(mixed, [batch, heads, seq, kvSeq]);
    return bias ? ops.add(y, ops.reshape(inFloat32(bias), [heads, 1, 1])) : y;
  });
}
