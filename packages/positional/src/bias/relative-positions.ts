// Relative positions of keys and queries, for attention biases.
import { ConfigError, type SequenceContext, ShapeError, type Value } from '@onnxformers/core';
import { impliedBy, unexpanded } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';

/**
 * Position of each key minus that of each query, by the positions of the context: those of `position_ids`, counted over an `attention_mask`,
 * continued after a cache, or from 0 in each packed sequence.
 *
 * Shapes   q [batch, heads, seq, head_dim] · k [batch, kv_heads, kv_seq, head_dim] → int64 [1 or batch, seq, kv_seq]
 * Throws   ConfigError for a memory, whose positions are not comparable with those of the queries, and for `position_ids` with a cache · ShapeError if
 *          keys are not the queries' own sequence
 */
export function relativePositions(q: Value, k: Value, ctx: SequenceContext, path: string): Value {
  refuseMemory(ctx, path);
  const ofQueries = unexpanded(ctx.positions);
  return ops.sub(ops.unsqueeze(ofKeys(q, k, ctx, ofQueries, path), [1]), ops.unsqueeze(inRows(ofQueries), [2]));
}

/**
 * Position of each key; see {@link relativePositions}, which throws the same errors.
 *
 * Shapes   q [batch, heads, seq, head_dim] · k [batch, kv_heads, kv_seq, head_dim] → int64 [1 or batch, kv_seq]
 */
export function keyPositions(q: Value, k: Value, ctx: SequenceContext, path: string): Value {
  refuseMemory(ctx, path);
  return ofKeys(q, k, ctx, unexpanded(ctx.positions), path);
}

/** int64 [1 or batch, seq]; packed [tokens] as [1, tokens]. */
const inRows = (positions: Value): Value => (positions.rank === 1 ? ops.unsqueeze(positions, [0]) : positions);

function refuseMemory(ctx: SequenceContext, path: string): void {
  if (ctx.queryMask)
    throw new ConfigError({
      path,
      problem: 'the distance between a query and a key of the memory is not defined',
      expected: 'self attention',
      got: 'cross attention',
      hint: 'Do not set attentionBias in cross attention',
    });
}

function ofKeys(q: Value, k: Value, ctx: SequenceContext, ofQueries: Value, path: string): Value {
  const kvSeq = k.dims[2]!;
  if (!ctx.state) {
    if (kvSeq === q.dims[2]) return inRows(ofQueries);
    throw new ShapeError({
      path,
      problem: 'the number of keys differs from the number of queries, so their positions are unknown',
      expected: `${q.dims[2]} keys`,
      got: String(kvSeq),
    });
  }
  if (ofQueries.leaf?.kind === 'input')
    throw new ConfigError({
      path,
      problem: 'position_ids contain the positions of the new tokens only, not of the keys in the cache',
      expected: 'no input position_ids, so that positions are counted',
      got: 'position_ids together with a state',
      hint: 'Omit position_ids; with an attention_mask over all cached positions, only real positions are counted',
    });
  const { keyPadding: keep } = impliedBy(ctx.mask);
  // Counted in the same way as those of the queries.
  // From the graph: only models with a state load these.
  const { cast, cumSum, iota, max, reshape, sub } = q.graph.ops;
  if (keep) return max(sub(cumSum(cast(keep, 'int64'), 1), 1), 0);
  return reshape(iota(q.graph.root, kvSeq), [1, kvSeq]);
}
