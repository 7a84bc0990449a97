// Attention by the angle between queries and keys. Liu et al. 2021, https://arxiv.org/abs/2111.09883
import {
  attend,
  attentionRules,
  ConfigError,
  defineBlock,
  init,
  int,
  module,
  num,
  ops,
  Parameter,
  type SequenceContext,
  type Value,
} from 'onnxformers';

/**
 * Attention by the angle between queries and keys, with a learned sharpness for each head.
 *
 *     y = softmax(mask(τ · cos(q, k) + bias)) v      τ = min(exp(logit_scale), maxScale)
 *
 * Shapes   q [batch, heads, seq, head_dim] · k, v [batch, kv_heads, kv_seq, head_dim] → [batch, heads, seq, head_dim]
 * Dtypes   float32, float16, bfloat16; norms and softmax in float32
 * Masks    all kinds
 * Cost     that of softmax attention
 * Throws   ConfigError when q does not have as many heads as the config says
 * Source   Liu et al. 2021, https://arxiv.org/abs/2111.09883 (their τ is the inverse of this one)
 */
export const cosineAttention = defineBlock({
  kind: 'attention',
  name: 'cosine',
  summary: 'Attention by the angle between queries and keys.',
  source: 'Liu et al. 2021, https://arxiv.org/abs/2111.09883',
  masks: ['causal', 'window', 'lengths', 'keyPadding', 'documents', 'dense', 'not', 'or'],
  fields: {
    heads: int({ doc: 'query heads; one sharpness each', min: 1, inherit: true }),
    maxScale: num({ doc: 'largest sharpness', min: 1, default: 100 }),
  },
  examples: [{ heads: 2 }, { heads: 3, maxScale: 7 }],
  properties: ['batchIndependent'],
  rules: attentionRules,
  create({ heads, maxScale }, { path }) {
    const logit_scale = new Parameter([heads], init.constant(Math.log(10)), { role: 'mechanism', part: 'other' });
    return module({ logit_scale }, (q: Value, k: Value, v: Value, ctx: SequenceContext) => {
      if (q.dims[1] !== heads)
        throw new ConfigError({ path, problem: 'another number of heads', expected: String(heads), got: String(q.dims[1]) });
      const sharpness = ops.min(ops.exp(ops.cast(q.graph.param(logit_scale), 'float32')), maxScale);
      const turned = ops.mul(unit(q), ops.cast(ops.reshape(sharpness, [heads, 1, 1]), q.dtype));
      return attend(turned, unit(k), v, ctx, { scale: 1 });
    });
  },
});

// Rows of length 1; a row of zeros stays zeros.
function unit(x: Value): Value {
  const wide = ops.cast(x, 'float32');
  const length = ops.sqrt(ops.reduceSum(ops.mul(wide, wide), [-1]));
  return ops.cast(ops.div(wide, ops.max(length, 1e-12)), x.dtype);
}
