// Content-to-position and position-to-content scores. He et al. 2020, https://arxiv.org/abs/2006.03654
import {
  bool,
  ConfigError,
  defineBlock,
  init,
  int,
  linear,
  module,
  num,
  Parameter,
  type SequenceContext,
  ShapeError,
  slot,
  tensor,
  type Value,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { relativePositions } from './relative-positions';

/**
 * DeBERTa's scores of contents with relative positions: queries with a key of each distance, keys with a query of each distance.
 *
 *     bias[h, i, j] = scale · (q_i · K_pos[r(i − j)] + k_j · Q_pos[r(i − j)])      K_pos = W_k E, Q_pos = W_q E, r(d) = clamp(δ(d) + span, 0, 2 span − 1)
 *
 * E are the embeddings of 2 span distances. Without buckets δ(d) = d; with buckets distances up to half of them are kept, and larger ones grow
 * logarithmically up to maxDistance. The scale is that of the mechanism: in DeBERTa 1 / sqrt(3 head_dim), or 2 with one of the two terms.
 *
 * Shapes   q [batch, heads, seq, head_dim] · k [batch, heads, kv_seq, head_dim] → [batch, heads, seq, kv_seq]
 * Dtypes   float32, float16, bfloat16
 * Cost     time O(heads · seq · span · head_dim), memory O(heads · seq · (span + kv_seq))
 * Throws   ConfigError without either term, when heads does not divide dim, when maxDistance is not beyond the distances that buckets keep, in cross attention, and for `position_ids` with
 *          a cache · ShapeError when q or k has other heads
 * Source   He et al. 2020, https://arxiv.org/abs/2006.03654
 * Lowers   everywhere: MatMul, GatherElements; the attention bias excludes kernels without one
 * Example  const block = disentangled({ dim: 768, heads: 12, span: 256, scale: 1 / Math.sqrt(3 * 64) });
 */
export const disentangled = defineBlock({
  kind: 'attentionBias',
  name: 'disentangled',
  summary: 'Scores of queries and keys with embeddings of their distance.',
  source: 'He et al. 2020, https://arxiv.org/abs/2006.03654',
  fields: {
    /** channels of the embeddings of distances. Inherited from the enclosing block. */
    dim: int({ doc: 'channels of the embeddings of distances', unit: 'channels', min: 1, inherit: true }),
    /** heads of queries and keys. Inherited from the enclosing block. */
    heads: int({ doc: 'heads of queries and keys', min: 1, inherit: true }),
    /** distances on each side that have an embedding; with buckets, their number (positions). */
    span: int({
      doc: 'distances on each side that have an embedding; with buckets, their number',
      unit: 'positions',
      min: 1,
      max: 65_536,
    }),
    /** large distances share embeddings. Default: `false`. */
    buckets: bool({ doc: 'large distances share embeddings', default: false }),
    /** with buckets: distances from this one on share the last embedding (positions). Default: `512`. */
    maxDistance: int({
      doc: 'with buckets: distances from this one on share the last embedding',
      unit: 'positions',
      min: 2,
      max: 65_536,
      default: 512,
    }),
    /** queries score with the keys of distances. Default: `true`. */
    contentToPosition: bool({ doc: 'queries score with the keys of distances', default: true }),
    /** keys score with the queries of distances. Default: `true`. */
    positionToContent: bool({ doc: 'keys score with the queries of distances', default: true }),
    /** factor of the scores. Default: `1`. */
    scale: num({ doc: 'factor of the scores', above: 0, default: 1 }),
    /** the projections have a bias. Default: `true`. */
    bias: bool({ doc: 'the projections have a bias', default: true }),
    /** normalises the embeddings of distances. Optional. */
    norm: slot('norm', { doc: 'normalises the embeddings of distances', optional: true }),
  },
  inputs({ about: { config } }) {
    const { dim, heads } = config as { dim: number; heads: number };
    const perHead = { dtype: 'float32', dims: ['batch', heads, 'seq', dim / heads] } as const;
    return { q: perHead, k: perHead };
  },
  examples: [
    { dim: 12, heads: 3, span: 5, scale: 0.3 },
    { dim: 10, heads: 2, span: 4, buckets: true, maxDistance: 11, contentToPosition: false, bias: false },
  ],
  properties: ['deterministic'],
  create({ dim, heads, span, buckets, maxDistance, contentToPosition, positionToContent, scale, bias, norm }, { path }) {
    if (!contentToPosition && !positionToContent)
      throw new ConfigError({
        path: `${path}.positionToContent`,
        problem: 'neither term is set, so there is no bias',
        expected: 'contentToPosition or positionToContent',
        got: 'false',
      });
    if (dim % heads)
      throw new ConfigError({
        path: `${path}.heads`,
        problem: 'heads does not divide dim',
        expected: `a divisor of dim = ${dim}`,
        got: String(heads),
      });
    if (buckets && span < 2)
      throw new ConfigError({
        path: `${path}.span`,
        problem: 'too few distances for buckets',
        expected: 'an integer >= 2, or buckets: false',
        got: String(span),
      });
    if (buckets && maxDistance - 1 <= Math.floor(span / 2))
      throw new ConfigError({
        path: `${path}.maxDistance`,
        problem: 'maxDistance is within the distances that have an embedding each, the first half of span',
        expected: `an integer > ${Math.floor(span / 2) + 1}`,
        got: String(maxDistance),
      });
    const table = new Parameter([2 * span, dim], init.normal(0.02), { role: 'position', part: 'weight' });
    const pos_key_proj = contentToPosition ? linear(dim, dim, { bias, role: 'key' }) : undefined;
    const pos_query_proj = positionToContent ? linear(dim, dim, { bias, role: 'query' }) : undefined;
    const reach = buckets ? maxDistance : span;
    const rows = Array.from({ length: 2 * reach + 1 }, (_, i) => rowOf(i - reach, span, buckets ? maxDistance : undefined));
    const children = { rel_embeddings: { weight: table }, norm, pos_key_proj, pos_query_proj };
    return module(children, (q: Value, k: Value, ctx: SequenceContext) => {
      for (const [name, x] of [
        ['q', q],
        ['k', k],
      ] as const)
        if (x.dims[1] !== heads || x.dims[3] !== dim / heads)
          throw new ShapeError({
            path,
            problem: `${name} has other heads than the embeddings of distances`,
            expected: `[batch, ${heads}, seq, ${dim / heads}]`,
            got: `[${x.dims.join(', ')}]`,
          });
      const root = q.graph.root;
      const embeddings = root.param(table);
      const normed = norm ? norm(embeddings) : embeddings;
      /** [1, heads, head_dim, 2 span] */
      const perHead = (x: Value) => ops.transpose(ops.reshape(x, [1, 2 * span, heads, dim / heads]), [0, 2, 3, 1]);
      // Key minus query; the formula has query minus key.
      const distance = ops.sub(0, relativePositions(q, k, ctx, path));
      const clipped = ops.add(ops.min(ops.max(distance, -reach), reach), reach);
      const row = ops.unsqueeze(ops.gather(root.constant(tensor('int64', [rows.length], rows)), clipped, 0), [1]);
      const [batch, , seq] = q.dims;
      const pick = (scores: Value, index: Value, dims: Value['dims']) => ops.gatherElements(scores, ops.expand(index, dims), 3);
      const terms: Value[] = [];
      if (pos_key_proj) terms.push(pick(ops.matmul(q, perHead(pos_key_proj(normed))), row, [batch!, heads, seq!, k.dims[2]!]));
      if (pos_query_proj) {
        const byKey = pick(ops.matmul(k, perHead(pos_query_proj(normed))), ops.transpose(row, [0, 1, 3, 2]), [
          batch!,
          heads,
          k.dims[2]!,
          seq!,
        ]);
        terms.push(ops.transpose(byKey, [0, 1, 3, 2]));
      }
      const sum = terms.length === 2 ? ops.add(terms[0]!, terms[1]!) : terms[0]!;
      return ops.mul(sum, scale);
    });
  },
});

/** The embedding of a distance, query minus key. Logarithms in float32, as DeBERTa computes them. */
function rowOf(distance: number, span: number, maxDistance: number | undefined): number {
  const row = (signed: number): number => Math.min(Math.max(signed + span, 0), 2 * span - 1);
  const half = Math.floor(span / 2);
  const size = Math.abs(distance);
  if (maxDistance === undefined || size <= half) return row(distance);
  const { fround } = Math;
  const share = fround(fround(Math.log(fround(size / half))) / fround(Math.log((maxDistance - 1) / half)));
  return row(Math.sign(distance) * (Math.ceil(fround(share * (half - 1))) + half));
}
