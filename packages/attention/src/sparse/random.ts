// Softmax attention to keys that are chosen at random. Zaheer et al. 2020, https://arxiv.org/abs/2007.14062
import {
  and,
  attend,
  bool,
  causal as causalMask,
  choice,
  defineBlock,
  int,
  num,
  randomPairs,
  type SequenceContext,
  type Value,
  withContext,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { kernels } from '../kernels/index';
import { masksFromTheStart } from './masks-from-the-start';
import { attendPadded } from './stored-sparsely';

/**
 * Softmax attention of each query to keys that are chosen at random, the same ones for all heads and sequences.
 *
 *     y_i = Σ_j softmax_j(scale · q_i k_jᵀ + bias) v_j      over the keys j of the row ⌊i / shared⌋; j ≤ i if causal
 *
 * Each row of `shared` queries has keys of its own, spread evenly: n in each stretch of m positions, where n / m is the density (to 0.1 % of it; n ≤ 100), one in each of n
 * parts of the stretch, which begins at a random position for each row and stretch. So each pair has the probability `density`. In a sequence shorter than 1 / density a
 * query may be left without any key: its result is 0. The pairs depend on `seed` and on the positions only, so that a cache, padding on the right and other mechanisms of the
 * same seed see the same ones; with `redraw` each run has others, from a draw. With compat: 'xformers' all pairs are drawn independently of each other.
 *
 * Shapes   q [batch, heads, seq, head_dim] · k, v [batch, kv_heads, kv_seq, head_dim] → [batch, heads, seq, head_dim]
 * Dtypes   float32, float16, bfloat16; softmax in float32
 * Masks    causal, causalFromTopLeft, window, windowFromTopLeft, dilated, prefix, global, blocks, random, lengths, documents, documentIds, dense,
 *          expression, or, not; each together with the pattern. Positions are counted from the start of the batch's rows, so padding is allowed only on
 *          the right, as lengths
 * Cost     time O(density · seq² · dim), memory O(density · seq² · (1 + dim / shared)) without a mask, causal or under lengths, where the density is low enough;
 *          otherwise, and with compat, time O(seq · kv_seq · dim), memory O(seq · kv_seq)
 * Throws   ConfigError for a padding mask or a memory; with compat also for a cache, a packed layout and an attention bias
 * Source   Zaheer et al. 2020, https://arxiv.org/abs/2007.14062
 * Lowers   portable: primitives · cpu, cuda: MultiHeadAttention, Attention · wasm, webgpu: MultiHeadAttention; over keys that are gathered beside rows of queries, or
 *          with the pattern as a tensor for high densities and other masks
 * Example  const block = randomAttention({ density: 0.05 });
 */
export const randomAttention = defineBlock({
  kind: 'attention',
  name: 'random',
  summary: 'Softmax attention to keys that are chosen at random.',
  source: 'Zaheer et al. 2020, https://arxiv.org/abs/2007.14062',
  masks: masksFromTheStart,
  fields: {
    /** the probability that a query attends to a key. Default: `0.01`. */
    density: num({ doc: 'the probability that a query attends to a key', min: 2 ** -30, max: 1, default: 0.01 }),
    /** so many queries in a row have the same keys (positions). Default: `64`. */
    shared: int({ doc: 'so many queries in a row have the same keys', unit: 'positions', min: 1, max: 65_536, default: 64 }),
    /** seed of the choice. Default: `0`. */
    seed: int({ doc: 'seed of the choice', min: 0, default: 0 }),
    /** every run has another choice, from a draw instead of the seed. Default: `false`. */
    redraw: bool({ doc: 'every run has another choice, from a draw instead of the seed', default: false }),
    /** no query attends to a later key. Default: `false`. */
    causal: bool({ doc: 'no query attends to a later key', default: false }),
    /** dropout probability of attention weights in training. Default: `0`. */
    dropout: num({ doc: 'dropout probability of attention weights in training', min: 0, max: 0.99, default: 0 }),
    /** xformers: shorter sequences are padded with keys of score 0, and sparse patterns omit some of their pairs. Optional. */
    compat: choice(['xformers'], {
      doc: 'xformers: shorter sequences are padded with keys of score 0, and sparse patterns omit some of their pairs',
      optional: true,
    }),
    /** only with compat: the length that sequences are padded to (positions). Optional. */
    seqLen: int({
      doc: 'only with compat: the length that sequences are padded to',
      unit: 'positions',
      min: 1,
      max: 8192,
      optional: true,
    }),
    /** only with compat: every pattern is treated as sparse. Default: `false`. */
    forceSparsity: bool({ doc: 'only with compat: every pattern is treated as sparse', default: false }),
  },
  examples: [
    { density: 0.4, shared: 3 },
    { density: 0.04, shared: 5 },
    { density: 0.6, shared: 2, causal: true, seed: 11 },
    { density: 0.5, shared: 1, redraw: true },
    { density: 0.7, compat: 'xformers', seqLen: 13 },
  ],
  properties: ({ causal, compat, seqLen, redraw }) => [
    'batchIndependent',
    ...(causal ? (['causal'] as const) : []),
    ...(compat && seqLen ? (['fixedLength'] as const) : []),
    ...(redraw ? [] : (['deterministic'] as const)),
  ],
  rules: kernels,
  create({ density, shared, seed, redraw, causal, dropout, compat, seqLen, forceSparsity }, { path }) {
    return (q: Value, k: Value, v: Value, ctx: SequenceContext) => {
      const by = compat ? undefined : shared;
      const pairs = redraw ? randomPairs(density, drawnSeed(q), by) : randomPairs(density, seed, by);
      const pattern = and<Value>(pairs, ...(causal ? [causalMask] : []));
      if (compat) return attendPadded(q, k, v, pattern, ctx, { path, seqLen, forceSparsity, dropout });
      return attend(q, k, v, withContext(ctx, { mask: and(ctx.mask, pattern) }), { dropout });
    };
  },
});

/** A seed of 24 bits, all that a draw has. */
const drawnSeed = (near: Value): Value => ops.cast(ops.mul(near.graph.root.draw('seed', [], 'uniform'), 2 ** 24), 'int64');
