// Masks in plain loops: the reference for mask tensors and kernels.
import { internal } from '../error';
import type { NDArray } from '../tensor/tensor';
import { type Mask, masksIn, type Pair, type Place, type QueryPlace } from './mask';
import { placingMask } from './places';

/** The sizes of one attention call. */
export interface AttendSizes {
  readonly seq: number;
  readonly kvSeq: number;
}

/** True when query `i` of sequence `b` and head `h` may attend to key `j`. */
export type MayAttend = (b: number, h: number, i: number, j: number) => boolean;

/**
 * A mask as a predicate. Query `i` is at position `queryOffset[b] + i`, key `j` at `j`, and only the first `queryOffset[b] + seq` keys exist;
 * without `queryOffset` queries and keys are aligned at their ends. A documents mask counts positions within its sequences instead.
 */
export function mayAttend(mask: Mask<NDArray>, sizes: AttendSizes, queryOffset?: NDArray): MayAttend {
  const pairOf = pairsOf(mask, sizes, queryOffset);
  return (b, h, i, j) => {
    const pair = pairOf(b, h, i, j);
    return pair !== undefined && mask.class.definition.allows(mask, pair);
  };
}

/** Query `i` and key `j` with their places; undefined where one of them does not exist. */
export function pairsOf(
  mask: Mask<NDArray>,
  sizes: AttendSizes,
  queryOffset?: NDArray,
): (b: number, h: number, i: number, j: number) => Pair | undefined {
  const placing = placingMask(mask);
  if (masksIn(mask).filter((m) => m.class.definition.placing).length > (placing ? 1 : 0))
    throw internal('two masks of one attention say where positions start');
  const placed = placing?.class.definition.placing?.places(placing, sizes);
  const { seq, kvSeq } = sizes;
  const query = (b: number, i: number): QueryPlace | undefined =>
    placed ? placed.query(i) : { sequence: b, position: i + (queryOffset ? queryOffset.data[b]! : kvSeq - seq), index: i };
  const key = (b: number, j: number): Place | undefined => (placed ? placed.key(j) : { sequence: b, position: j });
  return (b, h, i, j) => {
    if (queryOffset && j >= queryOffset.data[b]! + seq) return undefined;
    const [from, to] = [query(b, i), key(b, j)];
    return from && to && { batch: b, head: h, query: i, key: j, from, to };
  };
}
