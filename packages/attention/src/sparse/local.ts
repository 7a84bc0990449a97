// Softmax attention within a sliding window. Beltagy et al. 2020, https://arxiv.org/abs/2004.05150
import {
  and,
  attend,
  bool,
  ConfigError,
  choice,
  type Dim,
  defineBlock,
  int,
  type Mask,
  module,
  num,
  type SequenceContext,
  slidingWindow,
  type Value,
  withContext,
} from '@onnxformers/core';
import { maskTensor } from '@onnxformers/core/lowering';
import { kernels } from '../kernels/index';
import { scoreFields, scoresBy } from '../softmax/scores';
import { storedSparsely } from './stored-sparsely';

/**
 * Softmax attention within a sliding window.
 *
 *     y_i = Σ_j softmax_j(softcap(scale · q_i k_jᵀ) + bias) v_j      |i − j| ≤ (window − 1) / 2, or 0 ≤ i − j < window if causal
 *
 * Sinks are those of `scaled_dot_product`.
 *
 * Shapes   q [batch, heads, seq, head_dim] · k, v [batch, kv_heads, kv_seq, head_dim] → [batch, heads, seq, head_dim]
 * Dtypes   float32, float16, bfloat16; softmax in float32
 * Masks    all kinds, each together with the window
 *          compat: 'xformers' uses a mask over every pair, which omits up to three pairs of the last positions (see `forceSparsity`)
 * Cost     time and memory O(seq · window · dim) in a kernel or in blocks; O(seq · kv_seq · dim) under masks, biases and caches that
 *          neither supports
 * Throws   ConfigError for an even window that is not causal, and for learned sinks without heads · ShapeError when q and k differ in head_dim
 * Source   Beltagy et al. 2020, https://arxiv.org/abs/2004.05150
 * Lowers   portable: blocks of primitives · elsewhere: MultiHeadAttention, blocks for many positions · cpu, wasm, webgpu: GroupQueryAttention if causal · cpu: Attention, in chunks of queries · cuda: Attention, PagedAttention if causal
 * Example  const block = local({ window: 7 });
 */
export const local = defineBlock({
  kind: 'attention',
  name: 'local',
  summary: 'Softmax attention within a sliding window.',
  source: 'Beltagy et al. 2020, https://arxiv.org/abs/2004.05150',
  masks: 'all',
  fields: {
    /** keys that a query attends to, including the one at its own position (positions). Default: `5`. */
    window: int({
      doc: 'keys that a query attends to, including the one at its own position',
      unit: 'positions',
      min: 1,
      default: 5,
    }),
    /** the window ends at the query instead of being centred on it. Default: `false`. */
    causal: bool({ doc: 'the window ends at the query instead of being centred on it', default: false }),
    ...scoreFields,
    /** dropout probability of attention weights in training. Default: `0`. */
    dropout: num({ doc: 'dropout probability of attention weights in training', min: 0, max: 0.99, default: 0 }),
    /** xformers: a causal window has one more key, sparse patterns omit some of their pairs, and biases are reduced to masks. Optional. */
    compat: choice(['xformers'], {
      doc: 'xformers: a causal window has one more key, sparse patterns omit some of their pairs, and biases are reduced to masks',
      optional: true,
    }),
    /** only with compat: every pattern is treated as sparse. Default: `false`. */
    forceSparsity: bool({ doc: 'only with compat: every pattern is treated as sparse', default: false }),
  },
  examples: [
    { window: 3 },
    { window: 4, causal: true, softcap: 7, sinks: 'learned', heads: 3 },
    { window: 4, causal: true, compat: 'xformers' },
  ],
  properties: (c) => [
    'batchIndependent',
    ...(c.causal ? (['causal'] as const) : []),
    // The original's mask is a tensor over all pairs.
    ...(c.compat ? [] : (['linear'] as const)),
  ],
  rules: kernels,
  create(c, { path }) {
    const { window, causal, dropout, compat, forceSparsity } = c;
    if (!causal && window % 2 === 0)
      throw new ConfigError({
        path: `${path}.window`,
        problem: 'a window that is not causal has the same number of keys before and after the query',
        expected: 'an odd number, or causal: true',
        got: String(window),
      });
    const before = compat === 'xformers' ? window : window - 1;
    const band: Mask<never> = causal
      ? slidingWindow({ left: before, right: 0 })
      : slidingWindow({ left: (window - 1) / 2, right: (window - 1) / 2 });
    const { record, options } = scoresBy(c, path);
    return module(record, (q: Value, k: Value, v: Value, ctx: SequenceContext) => {
      const scores = { ...options(q), dropout };
      if (!compat) return attend(q, k, v, withContext(ctx, { mask: and(ctx.mask, band) }), scores);
      const { layout, keys } = ctx;
      const [batch, heads, seq] = q.dims as readonly [Dim, Dim, Dim];
      const frame = { graph: q.graph, batch, heads, seq, kvSeq: k.dims[2]!, queryOffset: keys?.queryOffset };
      const mask = storedSparsely(band, maskTensor(ctx.mask, frame), q, frame, forceSparsity);
      return attend(q, k, v, { mask, layout, ...(keys && { keys }) }, scores);
    });
  },
});
