// Heads that search, and rules that retrieve: each head chooses between values. Mittal et al. 2021, https://arxiv.org/abs/2110.09419
import {
  and,
  attend,
  attendsToMemory,
  bool,
  ConfigError,
  causal as causalMask,
  choice,
  crossAttentionKeyValues,
  type Dim,
  defineBlock,
  init,
  int,
  linear,
  mergeHeads,
  module,
  mulDims,
  num,
  type SequenceContext,
  splitHeads,
  updateCache,
  type Value,
  withContext,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { kernels } from '../kernels/index';

/**
 * Compositional attention: each head searches with its queries and keys, retrieves the values of all rules, and chooses between them for each position.
 *
 *     T_hρ = softmax(q_h k_hᵀ / √d) v_ρ      y = W_o concat_h Σ_ρ softmax over ρ (score(z_h, T_hρ)) T_hρ
 *     score(z, t) = w · [t, z] + b, or w · relu(W [t, z] + c) + b (`nonlinear`), or z · W_k t / √dimSelection (`keyedRules`)
 *
 * The selection query z is a linear map of x, or of the queries of each head (`composeQueries`).
 *
 * Shapes   x [batch, seq, dim], packed [tokens, dim] → the same; memory [batch, memory_seq, dim]
 * Dtypes   float32, float16, bfloat16
 * Masks    all kinds
 * Cost     time O(seq · kv_seq · (dim + heads · dimAttention) + seq · dim²), memory as that of softmax attention
 * Throws   ConfigError when heads does not divide dim, or rules does not divide dimAttention
 * Source   Mittal et al. 2021, https://arxiv.org/abs/2110.09419
 * Lowers   portable: primitives · elsewhere: MultiHeadAttention with wide values, MatMul · cpu: Attention, in chunks of queries ·
 *          cuda: PackedMultiHeadAttention, RestorePadding for packed tokens
 * Example  const block = compositional({ dim: 64, heads: 4, rules: 2 });
 */
export const compositional = defineBlock({
  kind: 'mixer',
  name: 'compositional',
  summary: 'Heads that search, and rules that retrieve: each head chooses between values.',
  source: 'Mittal et al. 2021, https://arxiv.org/abs/2110.09419',
  masks: 'all',
  fields: {
    /** channels. Inherited from the enclosing block. */
    dim: int({ doc: 'channels', unit: 'channels', min: 1, inherit: true }),
    /** searches: heads of queries and keys. Inherited from the enclosing block. */
    heads: int({ doc: 'searches: heads of queries and keys', min: 1, inherit: true }),
    /** retrievals: heads of values. Default: computed from other options. */
    rules: int({ doc: 'retrievals: heads of values', min: 1, default: (c: { heads: number }) => c.heads }),
    /** channels of all values together. Default: computed from other options. */
    dimAttention: int({
      doc: 'channels of all values together',
      unit: 'channels',
      min: 1,
      default: (c: { dim: number }) => c.dim,
    }),
    /** channels of a selection query. Default: computed from other options. */
    dimSelection: int({
      doc: 'channels of a selection query',
      unit: 'channels',
      min: 1,
      default: (c: { dim: number; heads: number }) => Math.max(1, Math.floor(c.dim / c.heads)),
    }),
    /** scores are products of selection queries with keys of the retrieved values. Default: `false`. */
    keyedRules: bool({ doc: 'scores are products of selection queries with keys of the retrieved values', default: false }),
    /** scores have a hidden layer; not with keyedRules. Default: `false`. */
    nonlinear: bool({ doc: 'scores have a hidden layer; not with keyedRules', default: false }),
    /** selection queries are made of the queries of each head instead of the hidden states. Default: `false`. */
    composeQueries: bool({
      doc: 'selection queries are made of the queries of each head instead of the hidden states',
      default: false,
    }),
    /** linear maps have a bias. Default: `true`. */
    bias: bool({ doc: 'linear maps have a bias', default: true }),
    /** no position attends to a later one. Default: `false`. */
    causal: bool({ doc: 'no position attends to a later one', default: false }),
    /** cross attention: keys and values come from the memory. Default: `false`. */
    cross: bool({ doc: 'cross attention: keys and values come from the memory', default: false }),
    /** dropout probability of attention weights in training. Default: `0`. */
    dropout: num({ doc: 'dropout probability of attention weights in training', min: 0, max: 0.99, default: 0 }),
    /** xformers: composed selection queries of a batch are mixed up with those of other positions and sequences. Optional. */
    compat: choice(['xformers'], {
      doc: 'xformers: composed selection queries of a batch are mixed up with those of other positions and sequences',
      optional: true,
    }),
  },
  examples: [
    { dim: 12, heads: 3 },
    { dim: 10, heads: 2, rules: 3, dimAttention: 9, nonlinear: true, causal: true },
    { dim: 12, heads: 3, rules: 2, keyedRules: true, composeQueries: true, dimSelection: 5, bias: false },
    { dim: 6, heads: 2, composeQueries: true, compat: 'xformers' },
  ],
  properties: ({ causal, composeQueries, compat }) =>
    compat && composeQueries ? [] : causal ? ['batchIndependent', 'causal'] : ['batchIndependent'],
  rules: kernels,
  create(c, { path }) {
    const { dim, heads, rules, dimAttention, dimSelection, keyedRules, nonlinear, composeQueries, bias, cross, compat } = c;
    divides(heads, dim, `${path}.heads`, 'dim');
    divides(rules, dimAttention, `${path}.rules`, 'dimAttention');
    const [headDim, ruleDim] = [dim / heads, dimAttention / rules];
    const q_proj = linear(dim, dim, { bias, role: 'query' });
    const k_proj = linear(dim, dim, { bias, role: 'key' });
    const v_proj = linear(dim, dimAttention, { bias, role: 'value' });
    const o_proj = linear(heads * ruleDim, dim, { bias, role: 'output', init: init.xavierUniform(), biasInit: init.zeros });
    const gain = { init: init.xavierUniform(keyedRules ? Math.SQRT1_2 : 1), role: 'mechanism', bias } as const;
    const value_q = composeQueries ? linear(headDim, dimSelection, gain) : linear(dim, dimSelection * heads, gain);
    const value_k = keyedRules ? linear(ruleDim, dimSelection, gain) : undefined;
    const score = keyedRules ? undefined : scoreNetwork(dimSelection + ruleDim, nonlinear ? dimSelection : undefined, gain);
    const children = { q_proj, k_proj, v_proj, o_proj, value_q, value_k, score_network: score };

    return module(children, (x: Value, ctx: SequenceContext) => {
      const q = splitHeads(q_proj(x), heads, ctx.layout);
      // The values of all rules in one wide head: every search retrieves all of them with the same weights.
      const ofRows = (rows: Value, valueRows: Value, layout: SequenceContext['layout']): readonly [Value, Value] => [
        splitHeads(k_proj(rows), heads, layout),
        splitHeads(v_proj(valueRows), 1, layout),
      ];
      const [k, v, at] = cross
        ? crossAttentionKeyValues(ctx, ({ hiddenStates, valueStates = hiddenStates, layout }) =>
            ofRows(hiddenStates, valueStates, layout),
          )
        : updateCache(ctx, ...ofRows(x, x, ctx.layout));
      if (c.causal && attendsToMemory(at))
        throw new ConfigError({
          path: `${path}.causal`,
          problem: 'positions of queries and of a memory cannot be compared',
          expected: 'false in cross attention',
          got: 'true',
        });
      const mask = c.causal ? and<Value>(at.mask, causalMask) : at.mask;
      const [batch, , kvSeq, width] = v.dims as [Dim, Dim, Dim, number];
      const wide = ops.expand(v, [batch, heads, kvSeq, width]);
      const found = attend(q, k, wide, withContext(at, { mask }), { dropout: c.dropout });
      const [rows, seq] = [found.dims[0]!, found.dims[2]!];
      const retrieved = ops.reshape(found, [rows, heads, seq, rules, ruleDim]);
      const selecting = composeQueries
        ? composed(value_q, q, headDim, compat !== undefined)
        : splitHeads(value_q(x), heads, ctx.layout);
      const z = ops.unsqueeze(selecting, [3]);
      const scores = value_k
        ? ops.mul(ops.reduceSum(ops.mul(value_k(retrieved), z), [4]), dimSelection ** -0.5)
        : score!(ops.concat([retrieved, ops.expand(z, [rows, heads, seq, rules, dimSelection])], 4));
      const shares = ops.softmax(ops.cast(scores, 'float32'), 3);
      const y = ops.reduceSum(ops.mul(ops.cast(shares, retrieved.dtype), retrieved), [3], { keepDims: false });
      return o_proj(mergeHeads(y, ctx.layout));
    });
  },
});

function divides(n: number, whole: number, path: string, of: string): void {
  if (whole % n === 0) return;
  throw new ConfigError({
    path,
    problem: `does not divide ${of}`,
    expected: `a divisor of ${of} = ${whole}`,
    got: String(n),
  });
}

type Gain = Parameters<typeof linear>[2];

/** The score of a retrieved value and a selection query, [..., width] → [..., 1]. */
function scoreNetwork(width: number, hidden: number | undefined, gain: Gain) {
  if (hidden === undefined) return linear(width, 1, gain);
  const [up, down] = [linear(width, hidden, gain), linear(hidden, 1, gain)];
  return module({ up, down }, (x: Value) => down(ops.relu(up(x))));
}

/** Selection queries of the scaled queries of each head, [batch, heads, seq, dimSelection]. */
function composed(value_q: (x: Value) => Value, q: Value, headDim: number, mixed: boolean): Value {
  const z = value_q(ops.mul(q, headDim ** -0.5));
  if (!mixed) return z;
  // The original lays them out as [seq, batch · heads] and reads them as [batch, seq, heads].
  const [batch, heads, seq, width] = z.dims as [Dim, Dim, Dim, Dim];
  const rows = ops.reshape(ops.transpose(z, [2, 0, 1, 3]), [mulDims(seq, batch, heads), width]);
  return ops.transpose(ops.reshape(rows, [batch, seq, heads, width]), [0, 2, 1, 3]);
}
