// Multi-head attention whose keys and values are computed from one vector per position. DeepSeek-AI 2024, https://arxiv.org/abs/2405.04434
import {
  and,
  attend,
  bool,
  causal as causalMask,
  choice,
  type Dim,
  defineBlock,
  dropout,
  init,
  int,
  linear,
  mergeHeads,
  module,
  mulDims,
  num,
  Parameter,
  type SequenceContext,
  slot,
  splitHeads,
  updateCache,
  type Value,
  withContext,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { kernels } from '../kernels/index';
import { whereShort } from '../low-rank/where-short';

/**
 * Multi-head latent attention (MLA): keys and values are linear in a short latent vector of each position, and the cache keeps only that and one rotated key.
 *
 *     c = norm(W_a x)      k_h = [K_h c | R(W_r x)]      v_h = V_h c      q_h = [a_h | R(b_h)] of W_q x, or of W_q norm(W_p x) with queryRank
 *     y = W_o concat_h softmax(scale · q_h k_hᵀ) v_h
 *
 * Two forms compute it, and are equal:
 *
 * - `expanded`      keys and values of all heads are computed from the latent vectors
 * - `absorbed`      K_h is applied to the queries and V_h to the results, so that all heads attend to the latent vectors: q_hᵀ K_h c = (K_hᵀ q_h)ᵀ c
 *
 * The default is `expanded` without a cache; with one, whichever needs fewer operations for the number of new positions.
 *
 * Shapes   x [batch, seq, dim], packed [tokens, dim] → the same; kept between calls: key [batch, 1, kv_seq, ropeHeadDim] and value
 *          [batch, 1, kv_seq, rank], the latent vectors
 * Dtypes   float32, float16, bfloat16; softmax in float32
 * Masks    all kinds
 * Cost     time O(seq · dim · heads · headDim + seq · kv_seq · heads · headDim), a position of the cache rank + ropeHeadDim numbers
 * Throws   ConfigError for options out of their range · LoweringError for a paged cache, which no kernel reads in this form
 * Source   DeepSeek-AI 2024, https://arxiv.org/abs/2405.04434
 * Lowers   cpu, wasm: MultiHeadAttention, Attention, RMSNormalization · webgpu: MultiHeadAttention · cuda: MultiHeadAttention, Attention,
 *          PackedMultiHeadAttention, RestorePadding, RMSNormalization · portable: MatMul, Softmax, RMSNormalization from opset 23
 * Example  const block = multiHeadLatent({ dim: 512, heads: 8, rank: 64, headDim: 32, ropeHeadDim: 16 });
 */
export const multiHeadLatent = defineBlock({
  kind: 'mixer',
  name: 'multi_head_latent',
  summary: 'Attention whose keys and values are computed from one short vector per position.',
  source: 'DeepSeek-AI 2024, https://arxiv.org/abs/2405.04434',
  masks: 'all',
  rules: kernels,
  fields: {
    /** channels. Inherited from the enclosing block. */
    dim: int({ doc: 'channels', unit: 'channels', min: 1, inherit: true }),
    /** heads. Inherited from the enclosing block. */
    heads: int({ doc: 'heads', min: 1, inherit: true }),
    /** channels of a latent vector (kv_lora_rank). Default: computed from other options. */
    rank: int({
      doc: 'channels of a latent vector (kv_lora_rank)',
      unit: 'channels',
      min: 1,
      default: (c: { dim: number }) => Math.ceil(c.dim / 4),
    }),
    /** channels of a vector from which queries are computed (q_lora_rank); absent: they are computed from x. Optional. */
    queryRank: int({
      doc: 'channels of a vector from which queries are computed (q_lora_rank); absent: they are computed from x',
      unit: 'channels',
      min: 1,
      optional: true,
    }),
    /** channels of a query or key head without positions (qk_nope_head_dim); if absent, dim / heads. Default: computed from other options. */
    headDim: int({
      doc: 'channels of a query or key head without positions (qk_nope_head_dim); if absent, dim / heads',
      unit: 'channels',
      min: 1,
      default: (c: { dim: number; heads: number }) => Math.ceil(c.dim / c.heads),
    }),
    /** channels of a query head and of the shared key that are rotated (qk_rope_head_dim). Default: computed from other options. */
    ropeHeadDim: int({
      doc: 'channels of a query head and of the shared key that are rotated (qk_rope_head_dim)',
      unit: 'channels',
      min: 2,
      default: (c: { headDim: number }) => 2 * Math.ceil(c.headDim / 4),
    }),
    /** channels of a value head (v_head_dim). Default: computed from other options. */
    valueHeadDim: int({
      doc: 'channels of a value head (v_head_dim)',
      unit: 'channels',
      min: 1,
      default: (c: { headDim: number }) => c.headDim,
    }),
    /** which of two equal forms is computed; default: the one with fewer operations. Default: `"auto"`. */
    form: choice(['auto', 'expanded', 'absorbed'], {
      doc: 'which of two equal forms is computed; default: the one with fewer operations',
      default: 'auto',
    }),
    /** scale of the scores; default 1 / √(headDim + ropeHeadDim). Optional. */
    scale: num({ doc: 'scale of the scores; default 1 / √(headDim + ropeHeadDim)', above: 0, optional: true }),
    /** causal mask: a query attends to no later position. Default: `false`. */
    causal: bool({ doc: 'causal mask: a query attends to no later position', default: false }),
    /** projections from x and to the output have a bias. Default: `false`. */
    bias: bool({ doc: 'projections from x and to the output have a bias', default: false }),
    /** added to the mean square in the norms of the latent vectors. Default: `0.000001`. */
    eps: num({ doc: 'added to the mean square in the norms of the latent vectors', min: 0, default: 1e-6 }),
    /** dropout probability of the output in training. Default: `0`. */
    dropout: num({ doc: 'dropout probability of the output in training', min: 0, max: 0.99, default: 0 }),
    /** rotary embedding of a part of the queries and of the shared key. Optional. */
    rotaryEmbedding: slot('rotaryEmbedding', {
      doc: 'rotary embedding of a part of the queries and of the shared key',
      optional: true,
      inside: (c: { ropeHeadDim: number }) => ({ dim: c.ropeHeadDim }),
    }),
  },
  examples: [
    { dim: 12, heads: 3, rank: 5, headDim: 4, ropeHeadDim: 2 },
    { dim: 10, heads: 2, rank: 7, queryRank: 3, headDim: 3, ropeHeadDim: 4, valueHeadDim: 5, bias: true, causal: true },
    { dim: 10, heads: 2, rank: 3, ropeHeadDim: 2, form: 'absorbed', scale: 0.3 },
  ],
  properties: ({ causal }) => (causal ? ['batchIndependent', 'causal'] : ['batchIndependent']),
  create(c) {
    const { dim, heads, rank, queryRank, headDim, ropeHeadDim, valueHeadDim, form, causal, bias, eps, rotaryEmbedding } = c;
    const queryDim = headDim + ropeHeadDim;
    const scale = c.scale ?? 1 / Math.sqrt(queryDim);
    const normOf = (width: number) => {
      const weight = new Parameter([width], init.ones, { role: 'norm', part: 'weight' });
      return module({ weight }, (x: Value) => ops.rmsNorm(x, weight, { epsilon: eps }));
    };
    const queries =
      queryRank === undefined
        ? { q_proj: linear(dim, heads * queryDim, { bias: false, role: 'query' }) }
        : {
            q_a_proj: linear(dim, queryRank, { bias, role: 'query' }),
            q_a_layernorm: normOf(queryRank),
            q_b_proj: linear(queryRank, heads * queryDim, { bias: false, role: 'query' }),
          };
    const kv_a_proj_with_mqa = linear(dim, rank + ropeHeadDim, { bias, role: 'key' });
    const kv_a_layernorm = normOf(rank);
    const weight = new Parameter([heads * (headDim + valueHeadDim), rank], init.fanIn(rank), { role: 'value', part: 'weight' });
    const kv_b_proj = module({ weight }, (x: Value) => ops.linear(x, weight));
    const o_proj = linear(heads * valueHeadDim, dim, { bias, role: 'output', biasInit: init.zeros });
    const children = { ...queries, kv_a_proj_with_mqa, kv_a_layernorm, kv_b_proj, o_proj, rotary_emb: rotaryEmbedding };
    return module(children, (x: Value, given: SequenceContext) => {
      const ctx = causal ? withContext(given, { mask: and(given.mask, causalMask) }) : given;
      const projected = 'q_proj' in queries ? queries.q_proj(x) : queries.q_b_proj(queries.q_a_layernorm(queries.q_a_proj(x)));
      const q = splitHeads(projected, heads, ctx.layout);
      const compressed = kv_a_proj_with_mqa(x);
      const axis = compressed.rank - 1;
      const part = (v: Value, at: number, from: number, to: number): Value =>
        ops.slice(v, { axes: [at], starts: [from], ends: [to] });
      const plain = part(q, 3, 0, headDim);
      const unturned = [
        part(q, 3, headDim, queryDim),
        splitHeads(part(compressed, axis, rank, rank + ropeHeadDim), 1, ctx.layout),
      ];
      const [turned, newKey] = rotaryEmbedding
        ? rotaryEmbedding(unturned[0]!, unturned[1]!, ctx)
        : (unturned as unknown as readonly [Value, Value]);
      const newLatent = splitHeads(kv_a_layernorm(part(compressed, axis, 0, rank)), 1, ctx.layout);
      const [key, latent, at] = updateCache(ctx, newKey, newLatent);

      const expanded = (): Value => {
        const [batch, , kvSeq] = latent.dims as readonly [Dim, Dim, Dim];
        const both = ops.reshape(kv_b_proj(latent), [batch, kvSeq, heads, headDim + valueHeadDim]);
        const split = ops.transpose(both, [0, 2, 1, 3]);
        const keys = ops.concat([part(split, 3, 0, headDim), ops.expand(key, [batch, heads, kvSeq, ropeHeadDim])], 3);
        const values = part(split, 3, headDim, headDim + valueHeadDim);
        return attend(ops.concat([plain, turned], 3), keys, values, at, { scale });
      };
      const absorbed = (): Value => {
        const maps = ops.reshape(x.graph.root.param(weight), [heads, headDim + valueHeadDim, rank]);
        const inner = perHead(plain, part(maps, 1, 0, headDim));
        const mixed = attend(ops.concat([inner, turned], 3), ops.concat([latent, key], 3), latent, at, { scale });
        return perHead(mixed, ops.swapLast(part(maps, 1, headDim, headDim + valueHeadDim)));
      };
      const y =
        form === 'auto' && ctx.state
          ? whereShort(x, [newKey.dims[2]!], absorbedUpTo(rank, headDim + valueHeadDim), absorbed, expanded)
          : form === 'absorbed'
            ? absorbed()
            : expanded();
      return dropout(o_proj(mergeHeads(y, ctx.layout)), c.dropout);
    });
  },
});

/**
 * The number of new positions up to which the absorbed form needs fewer operations: each key costs it 2 · rank products with a query of a head instead of
 * the width of keys and values, but not the rank · width products of its expansion.
 */
function absorbedUpTo(rank: number, width: number): number {
  const more = 2 * rank - width;
  return more <= 0 ? Number.MAX_SAFE_INTEGER : Math.max(1, Math.floor((rank * width) / more));
}

/** The product of the rows of each head with its own matrix, [batch, heads, rows, n] · [heads, n, m]: one product per head for the whole batch. */
function perHead(x: Value, matrices: Value): Value {
  const [batch, heads, rows] = x.dims as readonly [Dim, Dim, Dim];
  const [, n, m] = matrices.dims as readonly [Dim, Dim, Dim];
  const y = ops.matmul(ops.reshape(ops.transpose(x, [1, 0, 2, 3]), [heads, mulDims(batch, rows), n]), matrices);
  return ops.transpose(ops.reshape(y, [heads, batch, rows, m]), [1, 0, 2, 3]);
}
