// Pairs of queries and keys, for mechanisms that compute the scores of all of them.

import type { Dim } from '../dim/dim';
import { anObject, given } from '../given';
import type { Value } from '../ir/graph';
import { maskTensor, queryHasKey } from '../mask/tensor';
import { checkPairs, maskOf } from './context';
import type { SequenceContext } from './types';

/** The pairs of queries and keys that may attend. */
export interface Pairs {
  /** bool [batch or 1, heads or 1, seq or 1, kv_seq or 1]; absent: all pairs. */
  readonly keep?: Value;
  /** Whether a query may attend to any key: true if every query may, otherwise bool [batch or 1, heads or 1, seq or 1, 1]. */
  readonly some: Value | true;
}

/**
 * A function of the heads of queries, keys and values and the pairs among them that the context's mask and layout allow, for a mechanism that computes the scores of
 * all pairs by itself. Packed queries of a padded cache are padded for it.
 *
 * Shapes   q [batch, heads, seq, head_dim] · k, v [batch, kv_heads, kv_seq, …] → [batch, heads, seq, …], as `f` returns
 * Throws   ConfigError as `attend` does
 * Lowers   everywhere: the mask as a tensor
 * Example  const y = overPairs(q, k, v, ctx, (queries, keys, values, { keep }) => {
 *            const scores = ops.matmul(queries, ops.swapLast(keys));
 *            return ops.matmul(keep ? ops.where(keep, scores, 0) : scores, values);
 *          });
 */
export function overPairs(
  q: Value,
  k: Value,
  v: Value,
  ctx: SequenceContext,
  f: (q: Value, k: Value, v: Value, pairs: Pairs, ctx: SequenceContext) => Value,
): Value {
  given('overPairs', { q, k, ctx: v }, { ctx: anObject });
  if (ctx.layout.kind === 'packed' && ctx.keys?.layout.kind === 'padded') {
    const rows = ctx.layout.asPadded(ctx);
    return rows.pack(overPairs(rows.pad(q), k, v, rows.ctx, f));
  }
  checkPairs(q, k, ctx);
  const [batch, heads, seq] = q.dims as [Dim, Dim, Dim];
  const frame = { graph: q.graph, batch, heads, seq, kvSeq: k.dims[2]!, queryOffset: ctx.keys?.queryOffset };
  const mask = maskOf(ctx);
  const keep = maskTensor(mask, frame);
  return f(q, k, v, { ...(keep && { keep }), some: keep ? queryHasKey(mask, frame, keep) : true }, ctx);
}
