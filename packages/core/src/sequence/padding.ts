// Padded positions of inputs. They may contain any values, also NaN and infinities: they are set to 0 before a block reads the input, since a weight
// of 0 times NaN would be NaN in every position that attends to them.
import { type Dim, subDims } from '../dim/dim';
import type { Graph, Value } from '../ir/graph';

/** The assumption under which padded positions are not set to 0. */
export const finitePadding = 'finite padding';

/** Which positions of an input are real. */
export interface Padding {
  /** Real positions of each sequence, int64 [batch]. */
  readonly lengths: Value | undefined;
  /** True for real positions, bool [batch, kv_seq]: those of the state and of this call. */
  readonly keep: readonly Value[];
  /** Whether there is a state. */
  readonly continues: boolean;
  /** The position of the first query in a cache of fixed capacity, int64 [batch]. */
  readonly queryOffset: Value | undefined;
}

const clearedInputs = new WeakMap<Value, string>();

/**
 * An input with 0 in its padded positions, or the input itself if it has no declared padding.
 *
 * @param axis the axis of positions: 1 in [batch, seq, dim], 2 in [batch, heads, seq, head_dim]
 */
export function clearPadding(name: string, x: Value, axis: number, padding: Padding): Value {
  const real = realPositions(x, x.dims[axis]!, padding);
  if (!real) return x;
  const { reshape, where } = x.graph.ops;
  const [batch, rows] = real.dims as [Dim, Dim];
  const cleared = where(
    reshape(
      real,
      x.dims.map((_, i) => (i === 0 ? batch : i === axis ? rows : 1)),
    ),
    x,
    0,
  );
  clearedInputs.set(cleared, name);
  return cleared;
}

/** The input that a value is with 0 in its padded positions. */
export const clearedInput = (value: Value): string | undefined => clearedInputs.get(value);

/** The names of the inputs whose padded positions a traced graph sets to 0. */
export const clearedInputsOf = ({ nodes }: Graph): readonly string[] => [
  ...new Set(nodes.flatMap(({ outputs }) => outputs.flatMap((v) => clearedInput(v) ?? []))),
];

/**
 * The part of a mask over all keys for the positions of this call: the last `seq` of them, or, in a cache of fixed capacity, those from
 * `queryOffset` on.
 *
 * Shapes   all [batch, kv_seq] → [batch, seq]
 */
export function ofThisCall(all: Value, seq: Dim, queryOffset: Value | undefined): Value {
  const { add, gatherElements, iota, reshape, slice, unsqueeze } = all.graph.ops;
  const total = all.dims[1]!;
  if (queryOffset) return gatherElements(all, add(unsqueeze(queryOffset, [1]), reshape(iota(all.graph.root, seq), [1, seq])), 1);
  return total === seq ? all : slice(all, { axes: [1], starts: [subDims(total, seq)], ends: [total] });
}

/** {@link ofThisCall} of flags: runtimes gather integers, and no flags. */
export const flagsOfThisCall = (keep: Value, rows: Dim, queryOffset: Value | undefined): Value =>
  queryOffset
    ? keep.graph.ops.cast(ofThisCall(keep.graph.ops.cast(keep, 'int64'), rows, queryOffset), 'bool')
    : ofThisCall(keep, rows, undefined);

// bool [batch, rows]; undefined where all are real.
function realPositions(x: Value, rows: Dim, { lengths, keep, continues, queryOffset }: Padding): Value | undefined {
  const { iota, less, logicalAnd, reshape, unsqueeze } = x.graph.ops;
  const ofBatch = (v: Value): boolean => v.dims[0] === x.dims[0];
  const conditions = [
    ...(lengths && ofBatch(lengths) ? [less(reshape(iota(x, rows), [1, rows]), unsqueeze(lengths, [1]))] : []),
    ...keep.filter((v) => ofBatch(v) && (continues || v.dims[1] === rows)).map((v) => flagsOfThisCall(v, rows, queryOffset)),
  ];
  return conditions.length ? conditions.reduce((a, b) => logicalAnd(a, b)) : undefined;
}
