// Masks in plain loops: the meaning that `materialize` and every kernel are compared with.
import { internal } from '../error';
import type { Mask } from '../mask/mask';
import type { NDArray } from '../tensor/tensor';

/** The sizes of one attention call. */
export interface AttendSizes {
  readonly seq: number;
  readonly kvSeq: number;
}

/** True when query `i` of batch row `b` and head `h` may attend to key row `j`. */
export type MayAttend = (b: number, h: number, i: number, j: number) => boolean;

/** Where a row stands: in which sequence, and at which position there. Rows of no sequence have none. */
interface Place {
  readonly sequence: number;
  readonly position: number;
}

/**
 * A mask as a predicate. Query `i` stands at position `queryOffset[b] + i`, key `j` at `j`, and only the first `queryOffset[b] + seq` keys exist;
 * without `queryOffset` queries and keys end together. A documents mask counts positions within its sequences instead.
 */
export function mayAttend(mask: Mask<NDArray>, { seq, kvSeq }: AttendSizes, queryOffset?: NDArray): MayAttend {
  const documents = documentsOf(mask);
  const queryPlaces = documents && placesOf(documents.offsets, seq);
  const keyPlaces = documents && placesOf(documents.keyOffsets, kvSeq);
  const query = (b: number, i: number): Place | undefined => {
    const place = queryPlaces?.[i];
    if (place) {
      const surplus = lengthOf(documents!.keyOffsets, place.sequence) - lengthOf(documents!.offsets, place.sequence);
      return { sequence: place.sequence, position: place.position + surplus };
    }
    return documents ? undefined : { sequence: 0, position: i + (queryOffset ? queryOffset.data[b]! : kvSeq - seq) };
  };
  const key = (j: number): Place | undefined => (documents ? keyPlaces![j] : { sequence: 0, position: j });
  return (b, h, i, j) => {
    if (queryOffset && j >= queryOffset.data[b]! + seq) return false;
    const [from, to] = [query(b, i), key(j)];
    return from !== undefined && to !== undefined && allows(mask, [b, h, i, j], from, to);
  };
}

function allows(mask: Mask<NDArray>, index: readonly [number, number, number, number], from: Place, to: Place): boolean {
  const [b, , , j] = index;
  const ahead = to.position - from.position;
  switch (mask.kind) {
    case 'none':
      return true;
    case 'causal':
      return ahead <= 0;
    case 'window':
      return -ahead <= (mask.left ?? Number.POSITIVE_INFINITY) && ahead <= (mask.right ?? Number.POSITIVE_INFINITY);
    case 'lengths':
      return j < mask.keys.data[b]!;
    case 'keys':
      return mask.keep.data[b * mask.keep.dims[1]! + j] !== 0;
    case 'documents':
      return from.sequence === to.sequence;
    case 'tensor':
      return mask.keep.data[broadcastIndex(mask.keep.dims, index)] !== 0;
    case 'and':
      return mask.of.every((m) => allows(m, index, from, to));
    case 'or':
      return mask.of.some((m) => allows(m, index, from, to));
    case 'not':
      return !allows(mask.of, index, from, to);
  }
}

/** The place in row-major data of an element of `index`, for dims that broadcast to its rank. */
export function broadcastIndex(dims: readonly number[], index: readonly number[]): number {
  const skipped = index.length - dims.length;
  return dims.reduce((at, size, axis) => at * size + (size === 1 ? 0 : index[axis + skipped]!), 0);
}

function documentsOf(mask: Mask<NDArray>): (Mask<NDArray> & { readonly kind: 'documents' }) | undefined {
  const found = (mask.kind === 'and' ? mask.of : [mask]).filter((m) => m.kind === 'documents');
  if (found.length > 1) throw internal('two documents masks in one attention');
  return found[0];
}

const lengthOf = (offsets: NDArray, sequence: number): number => offsets.data[sequence + 1]! - offsets.data[sequence]!;

function placesOf(offsets: NDArray, rows: number): readonly (Place | undefined)[] {
  const places: (Place | undefined)[] = new Array(rows).fill(undefined);
  for (let sequence = 0; sequence + 1 < offsets.data.length; sequence++)
    for (let position = 0; position < lengthOf(offsets, sequence); position++)
      places[offsets.data[sequence]! + position] = { sequence, position };
  return places;
}
