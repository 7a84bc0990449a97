// Keys and values as linear functions of the queries. Bello 2021, https://arxiv.org/abs/2102.08602
import {
  addDims,
  ConfigError,
  choice,
  type Dim,
  defineBlock,
  dropout,
  init,
  int,
  limitPositions,
  module,
  mulDims,
  num,
  Parameter,
  refuseGaps,
  type SequenceContext,
  ShapeError,
  subDims,
  type Value,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { perQueryHead, timesKeyHead } from '../heads';
import { keptRows, zeroed } from '../kept-rows';
import { headsOfWidth } from './heads-of-width';

/**
 * Lambda layer: keys and values become linear functions that are applied to the queries, one of the contents for all positions, one of the distances for each.
 *
 *     y_i = (λᶜ + λᵖ_i)ᵀ q_i      λᶜ = softmax over positions (k)ᵀ v      λᵖ_i = Σ_m e(m − i) v_mᵀ      e: a learned vector for each distance
 *
 * Shapes   q [batch, heads, seq, headDim] · k, v [batch, kv_heads, seq, …] → [batch, heads, seq, value_dim]; seq ≤ seqLen
 * Dtypes   float32, float16, bfloat16; softmax in float32
 * Masks    lengths, keyPadding; compat: 'xformers' none
 * Cost     time and memory O(seq² · heads): the numbers q_i e(m − i) of all pairs; with compat O(seq · dim²)
 * Throws   ConfigError for another mask, an attention bias, a memory or a cache · ShapeError where the widths or lengths do not fit
 * Source   Bello 2021, https://arxiv.org/abs/2102.08602
 * Lowers   everywhere: Softmax, MatMul
 * Example  const block = lambda({ seqLen: 196, headDim: 16 });
 */
export const lambda = defineBlock({
  kind: 'attention',
  name: 'lambda',
  summary: 'Keys and values as linear functions of the queries.',
  source: 'Bello 2021, https://arxiv.org/abs/2102.08602',
  masks: ({ compat }) => (compat ? [] : ['lengths', 'keyPadding']),
  fields: {
    /** longest sequence; there is a vector for each distance in it (positions). Inherited from the enclosing block. */
    seqLen: int({
      doc: 'longest sequence; there is a vector for each distance in it',
      unit: 'positions',
      min: 1,
      inherit: true,
    }),
    /** channels of a query or key head. Inherited from the enclosing block. */
    headDim: int({ doc: 'channels of a query or key head', unit: 'channels', min: 1, inherit: true }),
    /** dropout probability of the result in training. Default: `0`. */
    dropout: num({ doc: 'dropout probability of the result in training', min: 0, max: 0.99, default: 0 }),
    /** xformers: the softmax is over the channels of keys, and distances mix no positions: λᵖ_i = Σ_m e(i − m) · v_i. Optional. */
    compat: choice(['xformers'], {
      doc: 'xformers: the softmax is over the channels of keys, and distances mix no positions: λᵖ_i = Σ_m e(i − m) · v_i',
      optional: true,
    }),
  },
  inputs: headsOfWidth,
  examples: [
    { seqLen: 13, headDim: 8 },
    { seqLen: 17, headDim: 8, compat: 'xformers' },
  ],
  properties: ({ compat }) => [
    'batchIndependent',
    'fixedLength',
    'deterministic',
    // The original multiplies the value of each position by a sum over distances: without pairs.
    ...(compat ? (['linear'] as const) : []),
  ],
  create({ seqLen, headDim, dropout: probability, compat }, { path }) {
    const weight = new Parameter([2 * seqLen - 1, headDim], init.normal(1), { role: 'position', part: 'weight' });
    return module({ rel_pos_emb: weight }, (q: Value, k: Value, v: Value, ctx: SequenceContext) => {
      refuse(q, k, ctx, path, headDim);
      const seq = q.dims[2]!;
      limitPositions(q.graph, seq, seqLen, `${path}.seqLen`);
      const distances = q.graph.root.param(weight);
      const keep = compat ? undefined : keptRows(ctx.mask, k, { path, problem: 'keys are summed over all positions' });
      if (keep) refuseGaps(ctx.mask, path);
      const values = keep ? zeroed(v, keep) : v;
      const shares = ops.cast(compat ? ops.softmax(ops.cast(k, 'float32'), 3) : overPositions(k, keep), v.dtype);
      const content = timesKeyHead(q, ops.matmul(ops.swapLast(shares), values));
      const place = compat ? ofOwnValue(q, v, distances, seqLen) : timesKeyHead(ofPairs(q, distances, seqLen), values);
      return dropout(ops.add(content, place), probability);
    });
  },
});

function refuse(q: Value, k: Value, ctx: SequenceContext, path: string, headDim: number): void {
  if (ctx.bias || ctx.queryMask || ctx.keys?.queryOffset || q.dims[2] !== k.dims[2])
    throw new ConfigError({
      path,
      problem: 'keys are summed over all positions, at their distances from the query',
      expected: 'self attention without a cache and an attention bias',
      got: ctx.bias ? 'an attention bias' : ctx.queryMask ? 'a memory' : 'a cache',
    });
  if (q.dims[3] === headDim) return;
  throw new ShapeError({
    path: `${path}.headDim`,
    problem: 'differs from the width of queries',
    expected: String(headDim),
    got: String(q.dims[3]),
  });
}

/** The softmax of each channel of the keys over the positions that are kept, in float32. */
function overPositions(k: Value, keep: Value | undefined): Value {
  const x = ops.cast(k, 'float32');
  if (!keep) return ops.softmax(x, 2);
  // Without any position the values are 0, whatever the shares.
  const some = ops.greater(ops.reduceSum(ops.cast(keep, 'int64'), [1]), 0);
  const hidden = ops.where(some, Number.NEGATIVE_INFINITY, x.graph.root.number(0, 'float32'));
  return ops.softmax(ops.where(ops.unsqueeze(keep, [1, 3]), x, ops.unsqueeze(hidden, [1, 3])), 2);
}

/** q_i · e(m − i) for all pairs, [batch, heads, seq, seq]. */
function ofPairs(q: Value, distances: Value, seqLen: number): Value {
  const [batch, heads, seq] = q.dims as [Dim, Dim, Dim];
  const last = subDims(seq, 1);
  const near = ops.slice(distances, { axes: [0], starts: [subDims(seqLen, seq)], ends: [addDims(seqLen, last)] });
  const byDistance = ops.matmul(q, ops.swapLast(near));
  // Row i starts i places before the row of query 0. With one more column, the rows that are read lie one after another.
  const wide = ops.pad(byDistance, { axes: [3], before: [0], after: [1] });
  const flat = ops.reshape(wide, [batch, heads, mulDims(2, seq, seq)]);
  const rows = ops.slice(flat, { axes: [2], starts: [last], ends: [subDims(mulDims(2, seq, seq), 1)] });
  return ops.cropTo(ops.reshape(rows, [batch, heads, seq, addDims(seq, last)]), 3, seq);
}

/** (q_i · Σ_m e(i − m)) v_i. The sum over all positions is a difference of two sums from the first distance on. */
function ofOwnValue(q: Value, v: Value, distances: Value, seqLen: number): Value {
  const seq = q.dims[2]!;
  const sums = ops.pad(ops.cumSum(distances, 0), { axes: [0], before: [1], after: [0] });
  const from = (start: Dim): Value => ops.slice(sums, { axes: [0], starts: [start], ends: [addDims(start, seq)] });
  const near = ops.sub(from(seqLen), from(subDims(seqLen, seq)));
  return ops.mul(ops.reduceSum(ops.mul(q, near), [3]), perQueryHead(v, q));
}
