// Patterns as xFormers stores them, for `compat: 'xformers'`. Ops are the graph's: a model without compat loads none for them.
import {
  attend,
  attendsToMemory,
  ConfigError,
  type Dim,
  limitPositions,
  type Mask,
  mulDims,
  none,
  padded,
  printMask,
  type SequenceContext,
  subDims,
  type Value,
} from '@onnxformers/core';
import { computed, type MaskFrame, maskTensor } from '@onnxformers/core/lowering';

/** Maximum density of a pattern that is stored sparsely, in tenths of all pairs. */
const densest = 3;

/**
 * A pattern and the user's mask as xFormers stores them: if the pattern allows few pairs, it uses a sparse format for a multiple of four pairs and drops the last
 * ones in row-major order. It drops pairs again after combining the pattern with the user's mask, which it converts to bool: the values of an additive mask are lost
 * too.
 *
 * @param force every pattern is stored sparsely
 */
export function storedSparsely(
  pattern: Mask<Value>,
  user: Value | undefined,
  near: Value,
  frame: MaskFrame,
  force: boolean,
): Mask<Value> {
  const { seq, kvSeq } = frame;
  const { ops } = near.graph;
  const own = maskTensor(pattern, frame);
  const whole = own ? ops.expand(own, [own.dims[0]!, own.dims[1]!, seq, kvSeq]) : ops.fill(near, [1, 1, seq, kvSeq], 1, 'bool');
  const pairs = ops.mul(ops.size(near, seq), ops.size(near, kvSeq));
  const sparse = force ? undefined : ops.lessOrEqual(ops.mul(count(whole), 10), ops.mul(pairs, densest));
  const kept = inFours(whole, sparse);
  return computed(user ? inFours(ops.logicalAnd(kept, user), sparse) : kept, `${printMask(pattern)} (stored sparsely)`);
}

/** The number of pairs of each [seq, kv_seq], int64 [..., 1, 1]. */
const count = (keep: Value): Value => keep.graph.ops.reduceSum(keep.graph.ops.cast(keep, 'int64'), [-2, -1]);

/** The first pairs, up to the largest multiple of four; all of them where `when` is false. */
function inFours(keep: Value, when: Value | undefined): Value {
  const { ops } = keep.graph;
  const [batch, heads, seq, kvSeq] = keep.dims as [Dim, Dim, Dim, Dim];
  const number = ops.reshape(ops.cumSum(ops.reshape(ops.cast(keep, 'int64'), [batch, heads, mulDims(seq, kvSeq)]), 2), keep.dims);
  const fours = ops.lessOrEqual(number, ops.mul(ops.div(count(keep), 4), 4));
  return ops.logicalAnd(keep, when ? ops.logicalOr(fours, ops.logicalNot(when)) : fours);
}

/** Options of {@link attendPadded}. */
export interface PaddedOptions {
  readonly path: string;
  /** The length of the pattern; absent: that of the sequence. */
  readonly seqLen: number | undefined;
  readonly forceSparsity: boolean;
  readonly dropout: number;
}

/**
 * Attention under a pattern of a fixed size: a shorter sequence is padded with zeros, and the padded keys, whose scores are 0, take their share of the weights.
 *
 * Throws   ConfigError for a memory, a cache, a packed layout and an attention bias · ShapeError for a longer sequence
 */
export function attendPadded(
  q: Value,
  k: Value,
  v: Value,
  pattern: Mask<Value>,
  ctx: SequenceContext,
  { path, seqLen, forceSparsity, dropout }: PaddedOptions,
): Value {
  const { ops } = q.graph;
  const [batch, heads, seq] = q.dims as [Dim, Dim, Dim];
  const wrong =
    (attendsToMemory(ctx) && 'a memory') ||
    ((ctx.state || ctx.keys?.queryOffset || k.dims[2] !== seq) && 'a cache') ||
    (ctx.layout.kind === 'packed' && 'a packed layout') ||
    (ctx.bias && 'an attention bias');
  if (wrong)
    throw new ConfigError({
      path: `${path}.compat`,
      problem: 'the original has one pattern for the positions of a padded batch',
      expected: 'self attention in the padded layout, without a cache and an attention bias',
      got: wrong,
      hint: 'Omit compat',
    });
  const length = seqLen ?? seq;
  if (seqLen !== undefined) limitPositions(q.graph, seq, seqLen, `${path}.seqLen`);
  const more = subDims(length, seq);
  const longer = (x: Value): Value => (more === 0 ? x : ops.pad(x, { axes: [2], before: [0], after: [more] }));
  const frame = { graph: q.graph, batch, heads, seq, kvSeq: seq };
  const own = ctx.mask === none ? undefined : maskTensor(ctx.mask, frame);
  const axes = own ? [2, 3].filter((axis) => own.dims[axis] !== 1) : [];
  const user = own && more !== 0 && axes.length ? padTrue(own, axes, more) : own;
  const mask = storedSparsely(pattern, user, q, { ...frame, seq: length, kvSeq: length }, forceSparsity);
  const y = attend(longer(q), longer(k), longer(v), { mask, layout: padded }, { dropout });
  return more === 0 ? y : ops.cropTo(y, 2, seq);
}

// Runtimes pad numbers, and no flags.
function padTrue(keep: Value, axes: readonly number[], more: Dim): Value {
  const { cast, pad } = keep.graph.ops;
  return cast(pad(cast(keep, 'int32'), { axes: [...axes], before: axes.map(() => 0), after: axes.map(() => more) }, 1), 'bool');
}
