// Masks as bool tensors, for what no kernel can say in its own words.
import type { Value } from '../ir/graph';
import { cast } from '../ops/cast';
import { greater, less } from '../ops/comparison';
import { add } from '../ops/elementwise';
import { reduceSum } from '../ops/reduce';
import { fill } from '../ops/shape';
import { impliedBy } from './features';
import type { Mask, MaskFrame, Truth } from './mask';
import { column, placeOf, placesOf } from './places';
import { both } from './truth';

/**
 * The mask as bool that broadcasts to [batch, heads, seq, kv_seq], true where attention is allowed; undefined when it is allowed
 * everywhere. Axes along which the mask is the same have size 1.
 *
 * Shapes   as the frame says → bool [batch or 1, heads or 1, seq or 1, kv_seq or 1]
 * Throws   ShapeError when a size cannot be read from the graph's inputs
 * Lowers   everywhere: Range, Less, LessOrEqual, And
 */
export function materialize(mask: Mask<Value>, frame: MaskFrame): Value | undefined {
  const at = placesOf(mask, frame);
  // Keys up to the query's own position are there anyway.
  const exists: Truth =
    frame.queryOffset && !((impliedBy(mask).right ?? 1) <= 0)
      ? less(at.keyRows(), add(column(frame.queryOffset), placeOf(frame.graph, frame.seq)))
      : true;
  const truth = both(exists, mask.class.definition.tensor(mask, at));
  if (truth === true) return undefined;
  return truth === false ? fill(frame.graph, [1, 1, 1, 1], 0, 'bool') : truth;
}

/**
 * Where a query may attend to some key at all.
 *
 * Shapes   keep bool [..., kv_seq] → bool [..., 1]
 * Throws   ShapeError when keep is a scalar
 * Lowers   everywhere: Cast, ReduceSum, Greater
 */
export const anyKey = (keep: Value): Value => greater(reduceSum(cast(keep, 'float32'), [-1]), 0);

/** Options of {@link someKey}. */
export interface SomeKeyOptions {
  /** Tells of lengths that none of them is 0, and of nothing else. */
  readonly nonEmpty?: (lengths: Value) => boolean;
}

/**
 * Where a query may attend to some key at all: true where every query surely does, else bool that broadcasts to [batch, heads, seq, 1]. From
 * lengths and the sequences of packed rows alone where these say it, else from all of `keep`, the mask as {@link materialize} gives it.
 *
 * Shapes   as the frame says; keep bool [batch or 1, heads or 1, seq or 1, kv_seq] → bool [batch or 1, heads or 1, seq or 1, 1]
 * Throws   ShapeError when a size cannot be read from the graph's inputs
 * Lowers   everywhere: Greater, GreaterOrEqual, ReduceSum
 */
export function someKey(mask: Mask<Value>, frame: MaskFrame, keep: Value, o: SomeKeyOptions = {}): Value | true {
  const at = placesOf(mask, frame);
  const { seesOwnKey, seesFirstKey } = mask.class.definition;
  const { nonEmpty = () => false } = o;
  const known = (at.ownKeyExists ? seesOwnKey?.(mask, at) : undefined) ?? seesFirstKey?.(mask, at, nonEmpty);
  return known === undefined || known === false ? anyKey(keep) : known;
}
