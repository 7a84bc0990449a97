// A learned bias for each bucket of distances. Raffel et al. 2020, https://arxiv.org/abs/1910.10683
import {
  bool,
  ConfigError,
  defineBlock,
  init,
  int,
  module,
  Parameter,
  type SequenceContext,
  tensor,
  type Value,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { relativePositions } from './relative-positions';

/**
 * T5's relative position bias: distances are divided into buckets, each with a learned bias for each head. Half of the buckets contain one distance
 * each, the others grow logarithmically up to maxDistance, and the last contains all larger distances.
 *
 *     bias[h, i, j] = table[bucket(position_j − position_i), h]
 *
 * T5 itself has one table for all layers; here each block has its own. T5's attention does not scale: set `scale: 1` in the mechanism.
 *
 * Shapes   q [batch, heads, seq, head_dim] · k [batch, kv_heads, kv_seq, head_dim] → [batch, heads, seq, kv_seq]; batch is 1 if all sequences have the same positions
 * Dtypes   float32, float16, bfloat16
 * Cost     time and memory O(heads · seq · kv_seq)
 * Throws   ConfigError when the buckets cannot be split evenly or maxDistance is within the buckets of one distance each, in cross attention, and for
 *          `position_ids` with a cache · ShapeError when q has another number of heads
 * Source   Raffel et al. 2020, https://arxiv.org/abs/1910.10683
 * Lowers   everywhere: Gather; the attention bias excludes kernels without one
 * Example  const block = t5Relative({ heads: 8 });
 */
export const t5Relative = defineBlock({
  kind: 'attentionBias',
  name: 't5_relative',
  summary: 'A learned bias for each head and bucket of distances.',
  source: 'Raffel et al. 2020, https://arxiv.org/abs/1910.10683',
  fields: {
    /** heads of the queries. Inherited from the enclosing block. */
    heads: int({ doc: 'heads of the queries', min: 1, inherit: true }),
    /** separate buckets for keys before and after the query; if false, later keys have distance 0. Default: `true`. */
    bidirectional: bool({
      doc: 'separate buckets for keys before and after the query; if false, later keys have distance 0',
      default: true,
    }),
    /** number of buckets. Default: `32`. */
    buckets: int({ doc: 'number of buckets', min: 2, max: 65_536, default: 32 }),
    /** distances from this one on share the last bucket (positions). Default: `128`. */
    maxDistance: int({
      doc: 'distances from this one on share the last bucket',
      unit: 'positions',
      min: 1,
      max: 65_536,
      default: 128,
    }),
  },
  examples: [{ heads: 3 }, { heads: 2, bidirectional: false, buckets: 6, maxDistance: 11 }],
  properties: ['deterministic'],
  create({ heads, bidirectional, buckets, maxDistance }, { path }) {
    const own = bidirectional ? buckets / 2 : buckets;
    if (own < 2 || !Number.isInteger(own))
      throw new ConfigError({
        path: `${path}.buckets`,
        problem: 'the buckets cannot be split evenly between keys before and after the query',
        expected: 'an even number >= 4',
        got: String(buckets),
      });
    if (maxDistance <= Math.floor(own / 2))
      throw new ConfigError({
        path: `${path}.maxDistance`,
        problem: 'maxDistance is within the buckets of one distance each',
        expected: `an integer > ${Math.floor(own / 2)}, the number of buckets of one distance each`,
        got: String(maxDistance),
      });
    const weight = new Parameter([buckets, heads], init.normal(0.02), { role: 'position', part: 'weight' });
    const ofDistance = (d: number): number =>
      (bidirectional && d > 0 ? own : 0) + bucketOf(bidirectional ? Math.abs(d) : Math.max(-d, 0), own, maxDistance);
    const indices = Array.from({ length: 2 * maxDistance + 1 }, (_, i) => ofDistance(i - maxDistance));
    return module({ relative_attention_bias: { weight } }, (q: Value, k: Value, ctx: SequenceContext) => {
      const g = q.graph;
      // One entry for each distance up to the last that differs, for a lookup by distance.
      const rows = ops.gather(g.root.param(weight), g.root.constant(tensor('int64', [indices.length], indices)), 0);
      const distance = relativePositions(q, k, ctx, path);
      const row = ops.add(ops.min(ops.max(distance, -maxDistance), maxDistance), maxDistance);
      return ops.transpose(ops.gather(rows, row, 0), [0, 3, 1, 2]);
    });
  },
});

/** The bucket among `count` of a distance >= 0, in float32 as T5 computes it. */
function bucketOf(distance: number, count: number, maxDistance: number): number {
  const exact = Math.floor(count / 2);
  if (distance < exact) return distance;
  const { fround } = Math;
  const share = fround(fround(Math.log(fround(distance / exact))) / fround(Math.log(maxDistance / exact)));
  return Math.min(count - 1, exact + Math.floor(fround(share * (count - exact))));
}
