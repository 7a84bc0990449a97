// Attention within a window, block by block: time and memory proportional to the window instead of the sequence.
import { addDims, ceilDivDims, type Dim, mulDims, subDims } from '../dim/dim';
import { mismatch, type Value } from '../ir/graph';
import { defineReasons, type Reason } from '../lower/reason';
import { reasons } from '../lower/reasons';
import { sequenceOf } from '../mask/documents';
import { type ExpressedMask, expressedBy } from '../mask/features';
import { type Mask, maskKinds, printMask } from '../mask/mask';
import { place, placeOf, placesUpTo } from '../mask/places';
import { attendGathered, rowsOfHeads } from './attend-gathered';
import type { AttendParts } from './attend-parts';

/** Options of {@link attendBlockwise}: those of Attend that it supports. */
export interface BlockwiseOptions {
  /** A window bounded on both sides, alone or joined by `and` with lengths, key padding and documents. */
  readonly mask: Mask<Value>;
  readonly scale?: number | undefined;
  readonly softcap?: number | undefined;
  /** [heads] */
  readonly sinks?: Value | undefined;
}

/** Shorter blocks are not faster, nor are more keys' blocks than these in a window. */
const shortestBlock = 32;
const blocksInWindow = 4;

const own = defineReasons({
  unbounded: ({ mask }: { readonly mask: string }) => `the mask is not a window bounded on both sides: ${mask}`,
  queryOutside: () => 'the window excludes the query itself',
  dataOffset: () => 'the query offset depends on data',
  perPair: ({ what }: { readonly what: string }) => `${what} has a number for every pair of query and key`,
});

const words = { window: true, lengths: true, keyPadding: true, documents: true } as const;

/** The parts of a mask that blocks can express. */
export type BlockwiseReading<V> = ExpressedMask<V, typeof words> & { readonly left: number; readonly right: number };

/** How an Attend is computed block by block, or why it cannot be. For rules. */
export function readBlockwise<V>({
  mask,
  queryOffset,
  bias,
  noise,
}: Pick<AttendParts<V>, 'mask' | 'queryOffset' | 'bias' | 'noise'>): BlockwiseReading<V> | { readonly refused: Reason } {
  const reading = expressedBy(mask, words);
  if (reading.inexpressible !== undefined) return { refused: reasons.maskNotExpressible(reading.inexpressible) };
  const { left, right, documents } = reading;
  if (left === undefined || right === undefined) return { refused: own.unbounded({ mask: printMask(mask) }) };
  if (left < 0 || right < 0) return { refused: own.queryOutside() };
  // Blocks compare lengths with rows of the batch, not with positions in a packed sequence.
  if (documents && reading.lengths)
    return { refused: reasons.maskNotExpressible({ mask: printMask(mask), kinds: maskKinds(mask) }) };
  if (documents && documents.offsets !== documents.keyOffsets) return { refused: reasons.keysOfOthers() };
  if (queryOffset) return { refused: own.dataOffset() };
  if (bias) return { refused: own.perPair({ what: 'a bias' }) };
  if (noise) return { refused: own.perPair({ what: 'dropout' }) };
  return { ...reading, left, right };
}

/** The size of blocks for a window, in positions. */
export interface BlockSize {
  /** Queries in a block. */
  readonly queries: number;
  /** Keys that they attend to: the blocks of keys in which their windows are. */
  readonly keys: number;
}

/** The size of blocks for a window: a quarter of it, at least 32 queries. */
export function blockSizeOf(left: number, right: number): BlockSize {
  const queries = Math.max(Math.ceil((left + right) / blocksInWindow), shortestBlock);
  return { queries, keys: queries * (1 + Math.ceil((left + right) / queries)) };
}

/**
 * Attend with a window, computed in blocks of `max(⌈(left + right) / 4⌉, 32)` queries, each over the blocks of keys that their windows reach.
 *
 * What depends only on the window is computed from a size that is known at run time, where there is one: a runtime would otherwise
 * compute it when it opens the model, and keep it, however few positions there are.
 *
 * Shapes   as Attend; kv_seq at least seq; the last query is at the position of the last key
 * Cost     time and memory O(seq · (left + right)), for any number of keys
 * Throws   ShapeError when blocks cannot express the mask
 * Source   Beltagy et al. 2020, https://arxiv.org/abs/2004.05150 (section 3.1, their sliding chunks)
 * Lowers   everywhere: an attention of which the blocks are the sequences
 */
export function attendBlockwise(q: Value, k: Value, v: Value, { mask, scale, softcap, sinks }: BlockwiseOptions): Value {
  const { less, logicalAnd, reshape, unsqueeze } = q.graph.ops;
  const { left, right, lengths, keyPadding, documents } = q.graph.located('attendBlockwise', [q, k, v], () => {
    const reading = readBlockwise({ mask });
    if ('refused' in reading) throw mismatch(reading.refused.text, 'a window with both bounds', printMask(mask));
    return reading;
  });
  const blocks = blocking(q, k, left, right);
  const [batch, heads, seq] = q.dims as [Dim, Dim, Dim];
  const conditions = [blocks.band(), ...blocks.inside()];
  if (lengths) conditions.push(blocks.perKey(less(unsqueeze(blocks.rows(), [0]), place(reshape(lengths, [batch, 1, 1])))));
  if (keyPadding) conditions.push(blocks.perKey(blocks.ofKeys(keyPadding, 1)));
  if (documents) conditions.push(blocks.sameSequence(documents.offsets));
  const y = attendGathered(
    {
      queries: blocks.ofQueries(rowsOfHeads(q), 1),
      keys: blocks.ofKeys(rowsOfHeads(k), 1),
      values: blocks.ofKeys(rowsOfHeads(v), 1),
      keep: conditions.reduce((a, b) => logicalAnd(a, b)),
    },
    { scale, softcap, sinks },
  );
  return rowsOfHeads(cropRows(reshape(y, [batch, mulDims(blocks.count, blocks.block), heads, v.dims[3]!]), seq));
}

const cropRows = (x: Value, rows: Dim): Value => x.graph.ops.slice(x, { axes: [1], starts: [0], ends: [rows] });

/** Queries and keys in blocks: block n of the queries attends to the keys of blocks n, n + 1, …, which begin `left` positions before it. */
function blocking(q: Value, k: Value, left: number, right: number) {
  const { graph } = q;
  const { add, equal, greater, greaterOrEqual, less, lessOrEqual, logicalAnd, mul, pad, reshape, slice, sub, where, windows } =
    graph.ops;
  const [seq, kvSeq] = [q.dims[2]!, k.dims[2]!];
  const { queries: block, keys: width } = blockSizeOf(left, right);
  const count = ceilDivDims(seq, block);
  const before = subDims(kvSeq, seq);
  const ofQueries = (x: Value, axis: number): Value => {
    const whole = pad(x, { axes: [axis], before: [0], after: [subDims(mulDims(count, block), seq)] });
    return reshape(whole, x.dims.toSpliced(axis, 1, count, block));
  };
  const ofKeys = (x: Value, axis: number, outside = 0): Value => {
    const after = subDims(addDims(mulDims(subDims(count, 1), block), width), addDims(seq, left));
    const whole = pad(x, { axes: [axis], before: [left], after: [after] }, outside);
    const used = slice(whole, { axes: [axis], starts: [before], ends: [whole.dims[axis]!] });
    return windows(used, axis, width, block);
  };
  // A part of the positions of the sequence instead of a constant.
  const upTo = (n: number): Value =>
    slice(placesUpTo(graph, addDims(mulDims(count, block), width)), { axes: [0], starts: [0], ends: [n] });
  // The index of the key for each block and each position in it.
  const rows = (): Value => {
    const first = mul(reshape(placesUpTo(graph, count), [count, 1]), block);
    const within = sub(reshape(upTo(width), [1, width]), left);
    const row = add(first, within);
    return before === 0 ? row : add(row, placeOf(graph, before));
  };
  // [batch or none, blocks, key] among [batch, blocks, query, key]
  const perKey = (x: Value): Value => {
    const [n, width] = x.dims.slice(-2) as [Dim, Dim];
    return reshape(x, [x.rank === 3 ? x.dims[0]! : 1, n, 1, width]);
  };
  return {
    block,
    count,
    width,
    ofQueries,
    ofKeys,
    rows,
    perKey,
    /** [1, 1, query, key], the same in every block. */
    band(): Value {
      const [query, key] = [reshape(upTo(block), [1, 1, block, 1]), reshape(upTo(width), [1, 1, 1, width])];
      return logicalAnd(greaterOrEqual(key, query), lessOrEqual(key, add(query, left + right)));
    },
    /** Marks existing keys; keys that no query's window reaches need no check. */
    inside(): readonly Value[] {
      const low = left > 0 ? [perKey(greaterOrEqual(rows(), 0))] : [];
      const high = right > 0 ? [perKey(less(rows(), placeOf(graph, kvSeq)))] : [];
      return [...low, ...high];
    },
    sameSequence(offsets: Value): Value {
      const sequence = sequenceOf(graph, offsets, seq);
      const own = reshape(ofQueries(sequence, 0), [1, count, block, 1]);
      const theirs = reshape(ofKeys(where(greater(sequence, 0), sequence, -1), 0, -1), [1, count, 1, width]);
      return equal(own, theirs);
    },
  };
}
