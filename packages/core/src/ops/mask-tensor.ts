// Masks as bool tensors, for what no kernel can say in its own words.
import { type Dim, subDims, termsOf } from '../dim/dim';
import type { GraphBuilder, Value } from '../ir/graph';
import { type Mask, type MaskFeatures, readMask } from '../mask/mask';
import { cast } from './cast';
import { equal, greater, greaterOrEqual, less, lessOrEqual, logicalAnd, logicalNot, logicalOr, where } from './comparison';
import { add, sub } from './elementwise';
import { reshape, slice } from './movement';
import { reduceSum } from './reduce';
import { gather } from './select';
import { fill, iota, size } from './shape';

/** The sizes and places that a mask speaks about. */
export interface MaskFrame {
  readonly graph: GraphBuilder;
  readonly seq: Dim;
  readonly kvSeq: Dim;
  /** int64 [batch]: rows of k before query 0; only the first `queryOffset + seq` rows exist. Absent: `kv_seq − seq`. */
  readonly queryOffset?: Value | undefined;
}

/**
 * The mask as bool that broadcasts to [batch, heads, seq, kv_seq], true where attention is allowed; undefined when it is allowed
 * everywhere. Axes along which the mask is the same have size 1.
 *
 * Shapes   as the frame says → bool [batch or 1, heads or 1, seq or 1, kv_seq or 1]
 * Throws   ShapeError when a size cannot be read from the graph's inputs
 * Lowers   everywhere: Range, Less, LessOrEqual, And
 */
export function materialize(mask: Mask<Value>, frame: MaskFrame): Value | undefined {
  const reading = readMask(mask);
  const places = placesOf(frame, reading.documents);
  // Keys up to the query's own position are there anyway.
  const exists =
    frame.queryOffset && !((reading.right ?? 1) <= 0)
      ? less(places.keys(), add(column(frame.queryOffset), placeOf(frame.graph, frame.seq)))
      : true;
  const truth = both(exists, truthOf(reading, places));
  if (truth === true) return undefined;
  return truth === false ? fill(frame.graph, [1, 1, 1, 1], 0, 'bool') : truth;
}

/** True when every query surely has a key that it may attend to, whatever the data. */
export function alwaysSomeKey(mask: Mask<Value>, frame: MaskFrame): boolean {
  const { lengths, documents } = readMask(mask);
  return !lengths && !documents && seesOwnKey(mask, frame);
}

/**
 * Where a query may attend to some key at all.
 *
 * Shapes   keep bool [..., kv_seq] → bool [..., 1]
 * Throws   ShapeError when keep is a scalar
 * Lowers   everywhere: Cast, ReduceSum, Greater
 */
export const anyKey = (keep: Value): Value => greater(reduceSum(cast(keep, 'float32'), [-1]), 0);

/**
 * Where a query may attend to some key at all: bool that broadcasts to [batch, heads, seq, 1]. From lengths and the sequences of packed rows
 * alone where these say it, else from all of `keep`, the mask as {@link materialize} gives it.
 *
 * Shapes   as the frame says; keep bool [batch or 1, heads or 1, seq or 1, kv_seq] → bool [batch or 1, heads or 1, seq or 1, 1]
 * Throws   ShapeError when a size cannot be read from the graph's inputs
 * Lowers   everywhere: Greater, GreaterOrEqual, ReduceSum
 */
export function someKey(mask: Mask<Value>, frame: MaskFrame, keep: Value): Value {
  const { left, right, lengths, documents } = readMask(mask);
  const { graph, seq, queryOffset } = frame;
  // A row of some sequence sees itself.
  if (documents && !lengths && !queryOffset && documents.offsets === documents.keyOffsets && seesOwnKey(mask, frame))
    return reshape(greater(sequenceOf(graph, documents.offsets, seq), 0), [1, 1, seq, 1]);
  // Every query sees the first key, if it is there.
  const seesFirst = left === undefined && (right === undefined ? isBand(mask) : seesOwnKey(mask, frame));
  return lengths && !documents && seesFirst ? greaterOrEqual(column(lengths), 1) : anyKey(keep);
}

// Beside lengths and documents nothing but a band, and one that does not leave the query's own position out.
function isBand(mask: Mask<Value>): boolean {
  const { left = 0, right = 0, keys, rest } = readMask(mask);
  return !keys && rest.length === 0 && left >= 0 && right >= 0;
}
// And that position is surely one of the keys.
const seesOwnKey = (mask: Mask<Value>, { seq, kvSeq, queryOffset }: MaskFrame): boolean =>
  isBand(mask) && (queryOffset !== undefined || neverNegative(subDims(kvSeq, seq)));

// Places up to here can be added without leaving int32.
const mostRows = 2 ** 30;

/** int32: enough for every row, and there is a GPU provider that leaves arithmetic in int64 to the CPU. */
export const place = (x: Value): Value => cast(x, 'int32');
/** 0, 1, … as places. */
export const placesUpTo = (g: GraphBuilder, n: Dim): Value => iota(g, n, 'int32');
/** A size as a place. */
export const placeOf = (g: GraphBuilder, d: Dim): Value => place(size(g, d));

const neverNegative = (d: Dim): boolean => termsOf(d).every((t) => t.coefficient > 0);

// ---- Truths: bool tensors, or what holds everywhere --------------------------------------------------------------------

type Truth = Value | boolean;

function both(a: Truth, b: Truth): Truth {
  if (a === true || b === false) return b;
  if (b === true || a === false) return a;
  return logicalAnd(a, b);
}
function either(a: Truth, b: Truth): Truth {
  if (a === false || b === true) return b;
  if (b === false || a === true) return a;
  return logicalOr(a, b);
}
const negated = (a: Truth): Truth => (typeof a === 'boolean' ? !a : logicalNot(a));

function truthOf({ left, right, lengths, keys, documents, rest }: MaskFeatures<Value>, places: Places): Truth {
  const parts: Truth[] = [places.band(left, right)];
  if (lengths) parts.push(less(places.keys(), column(lengths)));
  if (keys) parts.push(reshape(keys, [keys.dims[0]!, 1, 1, keys.dims[1]!]));
  if (documents) parts.push(places.sameSequence());
  return rest
    .map((m) => otherTruth(m, places))
    .concat(parts)
    .reduce(both);
}

// What `readMask` has no word for.
function otherTruth(mask: Mask<Value>, places: Places): Truth {
  const truth = (m: Mask<Value>): Truth => truthOf(readMask(m), places);
  switch (mask.kind) {
    case 'tensor':
      return reshape(mask.keep, [...Array.from({ length: 4 - mask.keep.rank }, () => 1), ...mask.keep.dims]);
    case 'or':
      return mask.of.map(truth).reduce(either);
    case 'not':
      return negated(truth(mask.of));
    case 'and':
      return mask.of.map(truth).reduce(both);
    default:
      return truth(mask);
  }
}

// [batch] or [seq] as one number for all keys.
const column = (perBatch: Value): Value => place(reshape(perBatch, [perBatch.dims[0]!, 1, 1, 1]));

// ---- Places: where queries and keys stand ------------------------------------------------------------------------------

interface Places {
  /** [1, 1, 1, kv_seq] */
  keys(): Value;
  /** Keys from `left` before to `right` after the query. */
  band(left: number | undefined, right: number | undefined): Truth;
  sameSequence(): Truth;
}

function placesOf(frame: MaskFrame, documents: MaskFeatures<Value>['documents']): Places {
  const { graph, seq, kvSeq, queryOffset } = frame;
  const keys = lazy(() => row(placesUpTo(graph, kvSeq), kvSeq));
  const sequences = lazy(() => sequencesOf(frame, documents!));
  // In rows of k, from [1 or batch, 1, seq, 1].
  const queries = lazy(() => {
    const own = reshape(placesUpTo(graph, seq), [1, 1, seq, 1]);
    if (queryOffset) return add(own, column(queryOffset));
    if (!documents) return seq === kvSeq ? own : add(own, placeOf(graph, subDims(kvSeq, seq)));
    if (documents.offsets === documents.keyOffsets) return own;
    // Ends meet: query t of sequence i stands beside key t + (end of i among the keys) − (end of i among the queries).
    const ahead = gather(place(sub(documents.keyOffsets, documents.offsets)), sequences().queries, 0);
    return add(own, reshape(ahead, [1, 1, seq, 1]));
  });
  const plain = !queryOffset && !documents;
  // No key lies further ahead of a query, or behind it, than this.
  const furthest = (bound: number, rows: Dim): boolean =>
    bound >= mostRows || (plain && typeof rows === 'number' && bound >= rows - 1);
  return {
    keys,
    band(left, right) {
      const before =
        right === undefined || furthest(right, seq) ? true : lessOrEqual(keys(), right === 0 ? queries() : add(queries(), right));
      const after =
        left === undefined || furthest(left, kvSeq)
          ? true
          : greaterOrEqual(keys(), left === 0 ? queries() : sub(queries(), left));
      return both(before, after);
    },
    sameSequence() {
      const { queries: own, keys: theirs } = sequences();
      return equal(reshape(own, [1, 1, seq, 1]), row(theirs, kvSeq));
    },
  };
}

const row = (x: Value, length: Dim): Value => reshape(x, [1, 1, 1, length]);

// The sequence of each query [seq] and key [kv_seq], from 1; 0 for queries of none and −1 for keys of none.
function sequencesOf(
  { graph, seq, kvSeq }: MaskFrame,
  { offsets, keyOffsets }: { readonly offsets: Value; readonly keyOffsets: Value },
) {
  const queries = sequenceOf(graph, offsets, seq);
  const keys = sequenceOf(graph, keyOffsets, kvSeq);
  return { queries, keys: where(greater(keys, 0), keys, -1) };
}

/** The sequence of each row, from 1; 0 for rows of none. */
export function sequenceOf(graph: GraphBuilder, offsets: Value, rows: Dim): Value {
  const last = subDims(offsets.dims[0]!, 1);
  const token = placesUpTo(graph, rows);
  const starts = slice(offsets, { axes: [0], starts: [0], ends: [last] });
  const end = slice(offsets, { axes: [0], starts: [last], ends: [offsets.dims[0]!] });
  const begun = lessOrEqual(place(reshape(starts, [1, last])), reshape(token, [rows, 1]));
  const count = reduceSum(place(begun), [1], { keepDims: false });
  return where(less(token, place(end)), count, 0);
}

function lazy<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}
