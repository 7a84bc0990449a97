// Masks as bool tensors, for masks that a kernel cannot express by its features.

import type { Dim } from '../dim/dim';
import type { Value } from '../ir/graph';
import { impliedBy } from './features';
import { endsIn, keyRangeOf, narrower } from './key-range';
import type { KeyRange, KnownData, Mask, MaskFrame, MaskPositions, Truth } from './mask';
import { column, ofChunk, ofKeyChunk, place, placeOf, placesOf } from './places';
import { both } from './truth';

/** Some queries of a call, and the keys that they attend to. */
export interface MaskChunk {
  /** The indices of the queries, int64 or int32 [rows]. */
  readonly queries: Value;
  /** Default: all keys. */
  readonly keys?: {
    readonly size: Dim;
    /** Their entries in data that has one for each key on this axis. */
    part(perKey: Value, axis: number): Value;
  };
}

/** The positions of the queries and keys of a chunk; without one, of all. */
export function placesOfChunk(mask: Mask<Value>, frame: MaskFrame, chunk?: MaskChunk): MaskPositions {
  const all = placesOf(mask, frame);
  const some = chunk ? ofChunk(all, chunk.queries) : all;
  return chunk?.keys ? ofKeyChunk(some, chunk.keys.size, chunk.keys.part) : some;
}

/**
 * The rows of keys that some queries of a call may attend to, as far as the classes of the mask say it.
 *
 * Shapes   queries int64 or int32 [rows] → int32 [], int32 []
 * Throws   ShapeError when a size cannot be read from the graph's inputs
 * Lowers   everywhere: ReduceMin, ReduceMax
 */
export function keyRangeOfChunk(mask: Mask<Value>, frame: MaskFrame, queries: Value): KeyRange {
  const own = keyRangeOf(mask, ofChunk(placesOf(mask, frame), queries));
  const { graph, queryOffset, seq } = frame;
  if (!queryOffset) return own;
  return narrower(own, { end: graph.ops.add(endsIn(place(queryOffset)).last, placeOf(graph, seq)) });
}

/**
 * The mask as bool that broadcasts to [batch, heads, seq, kv_seq], true where attention is allowed; undefined when it is allowed
 * everywhere. Axes along which the mask is the same have size 1.
 *
 * Shapes   as the frame says → bool [batch or 1, heads or 1, seq or 1, kv_seq or 1], with the numbers of queries and keys of a chunk
 * Throws   ShapeError when a size cannot be read from the graph's inputs
 * Lowers   everywhere: Range, Less, LessOrEqual, And
 */
export function maskTensor(mask: Mask<Value>, frame: MaskFrame, chunk?: MaskChunk): Value | undefined {
  const { add, fill, less } = frame.graph.ops;
  const at = placesOfChunk(mask, frame, chunk);
  // Keys up to the query's own position always exist.
  const exists: Truth =
    frame.queryOffset && !((impliedBy(mask).right ?? 1) <= 0)
      ? less(at.keyRows(), add(column(frame.queryOffset), placeOf(frame.graph, frame.seq)))
      : true;
  const truth = both(exists, mask.class.definition.tensor(mask, at));
  if (truth === true) return undefined;
  return truth === false ? fill(frame.graph, [1, 1, 1, 1], 0, 'bool') : truth;
}

/**
 * Whether each query (each row of a mask tensor) has a key that it may attend to; false for fully masked rows.
 *
 * Shapes   keep bool [..., kv_seq] → bool [..., 1]
 * Throws   ShapeError when keep is a scalar
 * Lowers   everywhere: Cast, ReduceSum, Greater
 */
export function rowHasKey(keep: Value): Value {
  const { cast, greater, reduceSum } = keep.graph.ops;
  return greater(reduceSum(cast(keep, 'float32'), [-1]), 0);
}

/**
 * Whether each query has a key that it may attend to: `true` if it is known that every query has one, otherwise bool that broadcasts to [batch, heads, seq, 1].
 * Computed from lengths and packed sequences alone if these determine it, otherwise from `keep`, the mask as {@link maskTensor} returns it.
 *
 * Shapes   as the frame says; keep bool [batch or 1, heads or 1, seq or 1, kv_seq] → bool [batch or 1, heads or 1, seq or 1, 1]
 * Throws   ShapeError when a size cannot be read from the graph's inputs
 * Lowers   everywhere: Greater, GreaterOrEqual, ReduceSum
 */
export function queryHasKey(mask: Mask<Value>, frame: MaskFrame, keep: Value, known: KnownData = {}): Value | true {
  const truth = hasKey(mask, placesOf(mask, frame), known);
  return truth === undefined || truth === false ? rowHasKey(keep) : truth;
}

/** True if it is known, whatever is fed, that every query has a key that it may attend to, and that there are keys. */
export function everyQueryHasKey(mask: Mask<Value>, frame: MaskFrame, known: KnownData = {}): boolean {
  const at = placesOf(mask, frame);
  const someKeys = at.ownKeyExists || (typeof frame.kvSeq === 'number' && frame.kvSeq > 0);
  return someKeys && hasKey(mask, at, known) === true;
}

function hasKey(mask: Mask<Value>, at: MaskPositions, known: KnownData): Truth | undefined {
  const { seesOwnKey, seesFirstKey } = mask.class.definition;
  return (at.ownKeyExists ? seesOwnKey?.(mask, at, known) : undefined) ?? seesFirstKey?.(mask, at, known);
}
