// Pooling over a sequence.
import {
  ConfigError,
  choice,
  contextOfHiddenStates,
  type Dim,
  int,
  type KindModule,
  type Layout,
  type Module,
  module,
  realPositionsOf,
  type SequenceContext,
  ShapeError,
  slot,
  subDims,
  type Value,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { widthAfter } from './backbone';

/** What a pooling reads; see {@link pool}. */
export const poolings = ['first', 'last', 'mean', 'rest', 'first_and_rest', 'end', 'id'] as const;
type Pooling = (typeof poolings)[number];

const poolingDoc =
  'what is pooled of the real positions: the first, the last, the mean, the mean of the rest after the first position (a class token), the first and that mean one after the other; or the last position even if it is padding (end), or the one of an id';

/** The field `pooling`. */
export const poolingField = (usual: Pooling) => choice(poolings, { doc: poolingDoc, default: usual });

/** The fields of a pooling besides `pooling`; spread them into the fields of a model, after the backbone's. */
export const poolFields = {
  /** the id whose first position the pooling `id` reads; absent: the largest id of the sequence. Optional. */
  poolId: int({
    doc: 'the id whose first position the pooling `id` reads; absent: the largest id of the sequence',
    min: 0,
    optional: true,
  }),
  /** layer between the stack and the pooling, for example latents that attend to the hidden states. Optional. */
  poolLayer: slot('layer', {
    doc: 'layer between the stack and the pooling, for example latents that attend to the hidden states',
    optional: true,
  }),
  /** norm of the pooled vector. Optional. */
  poolNorm: slot('norm', {
    doc: 'norm of the pooled vector',
    optional: true,
    inside: (c: PooledWidth) => ({ dim: pooledWidth(c) }),
  }),
} as const;

interface PooledWidth {
  readonly dim: number;
  readonly pooling: Pooling;
  readonly stack: KindModule<'stack'>;
}

/** Channels of the pooled vector. */
export const pooledWidth = ({ dim, pooling, stack }: PooledWidth): number =>
  widthAfter({ stack }, dim) * (pooling === 'first_and_rest' ? 2 : 1);

interface Pooler {
  readonly pooling: Pooling;
  readonly poolId: number | undefined;
  readonly poolLayer: KindModule<'layer'> | undefined;
  readonly poolNorm: KindModule<'norm'> | undefined;
}

/** The layer, the pooling and the norm of a model: from hidden states, their context and the model's ids to a vector for each sequence. */
export function poolerOf({
  pooling,
  poolId,
  poolLayer: layer,
  poolNorm: norm,
}: Pooler): Module<(x: Value, ctx: SequenceContext, ids: Value | undefined) => Value> {
  return module({ layer, norm }, (x: Value, ctx: SequenceContext, ids: Value | undefined) => {
    const rows = layer ? layer(x, ctx) : x;
    const pooled = pool(rows, (layer && contextOfHiddenStates(rows)) ?? ctx, pooling, { ids, poolId });
    return norm ? norm(pooled) : pooled;
  });
}

/**
 * Pooling: one vector for each sequence, of its real positions by `lengths` and `attention_mask`; 0 if there are none.
 *
 * - `first`, `last`, `mean`: that position, or the mean
 * - `rest`: the mean after the first position, that of a class token · `first_and_rest`: the first, then this mean, [batch, 2 · dim]
 * - `end`: the last position, even if it is padding
 * - `id`: the first position of the id `poolId`, or of the largest id; the first position if the id is not there
 *
 * Shapes   x [batch, seq, dim] → [batch, dim]; packed [tokens, dim] → [batch, dim]
 * Throws   ShapeError when a size cannot be read from the graph's inputs · ConfigError for `id` without ids, and for `end` and `id` of a packed batch
 */
export function pool(
  x: Value,
  ctx: SequenceContext,
  by: Pooling,
  o: { readonly ids?: Value | undefined; readonly poolId?: number | undefined } = {},
): Value {
  if (by === 'first_and_rest') return x.graph.ops.concat([pool(x, ctx, 'first'), pool(x, ctx, 'rest')], -1);
  if (ctx.layout.kind === 'packed') return poolPacked(x, ctx.layout, by);
  x.graph.root.limit({ size: x.dims[1]!, min: 1, problem: 'no positions to pool', by: 'pooling' });
  // Lengths leave padding on the right alone.
  if (by === 'first') return firstRow(x, realPositionsOf(x, { mask: ctx.mask, ...(ctx.state && { state: ctx.state }) }));
  if (by === 'end') return lastRow(x, undefined);
  const real = realPositionsOf(x, ctx);
  if (by === 'last') return lastRow(x, real);
  if (by === 'id') return rowOfId(x, real, o.ids, o.poolId);
  return by === 'rest' ? meanOf(x, restOf(x, real)) : meanOf(x, real);
}

/** The mean of the positions that a mask keeps. */
function meanOf(x: Value, real: Value | undefined): Value {
  if (!real) return ops.reduceMean(x, [1], { keepDims: false });
  // In float32: the sum of a long sequence can exceed float16.
  const weights = ops.cast(real, 'float32');
  const count = ops.max(ops.reduceSum(weights, [1]), 1);
  const rows = ops.mul(ops.cast(x, 'float32'), ops.unsqueeze(weights, [2]));
  return ops.cast(ops.div(ops.reduceSum(rows, [1], { keepDims: false }), count), x.dtype);
}

/** Real positions after the first of them. */
function restOf(x: Value, real: Value | undefined): Value {
  const { cast, cumSum, greater, iota, logicalAnd, unsqueeze } = x.graph.ops;
  if (!real) return greater(unsqueeze(iota(x, x.dims[1]!), [0]), 0);
  return logicalAnd(real, greater(cumSum(cast(real, 'int64'), 1), 1));
}

/** The first real position of an id, or of the largest; position 0 without one. */
function rowOfId(x: Value, real: Value | undefined, ids: Value | undefined, poolId: number | undefined): Value {
  // From the graph: other poolings load nothing of this.
  const { argMax, cast, equal, iota, reduceMax, unsqueeze, where } = x.graph.ops;
  if (!ids)
    throw new ConfigError({ path: 'pooling', problem: 'there are no ids to look in', expected: 'a model of ids', got: 'id' });
  const seq = x.dims[1]!;
  if (ids.dims[1] !== seq)
    throw new ShapeError({
      path: 'pooling',
      problem: 'the positions are not those of the ids',
      expected: `${ids.dims[1]} positions`,
      got: String(seq),
    });
  const known = real ? where(real, ids, -1) : ids;
  const hit = poolId === undefined ? equal(known, reduceMax(known, [1])) : equal(known, poolId);
  const at = argMax(cast(hit, 'int32'), 1);
  const own = equal(unsqueeze(iota(x, seq), [0]), at);
  return ops.reduceSum(ops.where(ops.unsqueeze(own, [2]), x, 0), [1], { keepDims: false });
}

/** Sequence i is rows offsets[i] to offsets[i + 1] − 1. */
function poolPacked(x: Value, { offsets }: Extract<Layout, { kind: 'packed' }>, by: Exclude<Pooling, 'first_and_rest'>): Value {
  if (by === 'end' || by === 'id')
    throw new ConfigError({
      path: 'pooling',
      problem: 'this pooling reads the positions of a padded batch',
      expected: "layout: 'padded'",
      got: `${by} of a packed batch`,
    });
  const [tokens, batch] = [x.dims[0]!, subDims(offsets.dims[0]!, 1)];
  x.graph.root.limit({ size: tokens, min: 1, problem: 'no positions to pool', by: 'pooling' });
  const column = (from: Dim, to: Dim): Value =>
    ops.reshape(ops.slice(offsets, { axes: [0], starts: [from], ends: [to] }), [batch, 1]);
  const [starts, ends] = [column(0, batch), column(1, offsets.dims[0]!)];
  const lengths = ops.sub(ends, starts);
  if (by === 'first' || by === 'last') {
    const row = by === 'first' ? ops.min(starts, ops.sub(ops.size(x, tokens), 1)) : ops.max(ops.sub(ends, 1), 0);
    const rows = ops.gather(x, ops.reshape(row, [batch]), 0);
    return ops.where(ops.greater(lengths, 0), rows, 0);
  }
  const token = ops.reshape(ops.iota(x, tokens), [1, tokens]);
  const skipped = by === 'rest' ? 1 : 0;
  const own = ops.logicalAnd(ops.lessOrEqual(ops.add(starts, skipped), token), ops.less(token, ends));
  const share = ops.div(1, ops.cast(ops.max(ops.sub(lengths, skipped), 1), 'float32'));
  return ops.matmul(ops.cast(ops.where(own, share, 0), x.dtype), x);
}

/** Position 0, or the first that is not padding. */
function firstRow(x: Value, keep: Value | undefined): Value {
  if (!keep) return ops.gather(x, x.graph.number(0, 'int64'), 1);
  const first = ops.logicalAnd(keep, ops.equal(ops.cumSum(ops.cast(keep, 'int64'), 1), 1));
  return ops.reduceSum(ops.where(ops.unsqueeze(first, [2]), x, 0), [1], { keepDims: false });
}

/** The last position, or the last that is not padding. */
function lastRow(x: Value, real: Value | undefined): Value {
  const seq = x.dims[1]!;
  if (!real) return ops.squeeze(ops.slice(x, { axes: [1], starts: [subDims(seq, 1)], ends: [seq] }), [1]);
  const counted = ops.cumSum(ops.cast(real, 'int64'), 1);
  const last = ops.logicalAnd(real, ops.equal(counted, ops.reduceSum(ops.cast(real, 'int64'), [1])));
  return ops.reduceSum(ops.where(ops.unsqueeze(last, [2]), x, 0), [1], { keepDims: false });
}
