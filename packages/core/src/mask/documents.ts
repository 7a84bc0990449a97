// Queries attend only to keys of their own document.
import { type Dim, subDims } from '../dim/dim';
import { printType, type TensorType } from '../ir/define-op';
import { type GraphBuilder, mismatch, type Value } from '../ir/graph';
import type { NDArray } from '../tensor/tensor';
import { expectType } from './check';
import { endsIn } from './key-range';
import { defineMask, type Mask, type MaskFrame, type MaskPositioning, type MaskPositions, type QueryPlace } from './mask';
import { allRows, keyRow, lazy, place, placeOf, placesUpTo, queryColumn } from './places';

type Data = 'offsets' | 'keyOffsets' | 'keyLengths';
/** Without `keyLengths`, a sequence has all keys up to the next one. */
type Packed<V> = Readonly<Record<'offsets' | 'keyOffsets', V>> & { readonly keyLengths?: V };

/** The class of {@link documents}. */
export const documentsMask = defineMask<Data>({
  name: 'documents',
  comparesPositions: false,
  check({ operands }, { batch, queryOffset }) {
    const { offsets, keyOffsets, keyLengths }: Packed<TensorType> = operands;
    expectOffsets('documents offsets', offsets, offsets.dims);
    expectOffsets('documents keyOffsets', keyOffsets, offsets.dims);
    if (keyLengths) expectType('documents keyLengths', keyLengths, 'int64', [subDims(offsets.dims[0]!, 1)]);
    if (batch !== 1) throw mismatch('a documents mask requires packed sequences', 'batch 1', `batch ${batch}`);
    if (queryOffset)
      throw mismatch('packed sequences cannot have a queryOffset', 'keyOffsets that include the cached positions', 'queryOffset');
  },
  allows: (_, { from, to }) => from.sequence === to.sequence,
  tensor({ operands }, { graph, allQueries, allKeys, ofRows, ofKeyRows }) {
    const queries = ofRows(queryColumn(sequenceOf(graph, operands.offsets, allQueries), allQueries), 2);
    return graph.ops.equal(queries, ofKeyRows(keyRow(ofNone(sequenceOfKeys(graph, operands, allKeys)), allKeys), 3));
  },
  // All keys from the first sequence that has one of the queries to the last.
  keyRange({ operands: { offsets, keyOffsets } }, { graph, querySequences }) {
    const { add, gather, min } = graph.ops;
    const { first, last } = endsIn(querySequences());
    const count = placeOf(graph, subDims(offsets.dims[0]!, 1));
    return { start: gather(place(keyOffsets), first, 0), end: gather(place(keyOffsets), min(add(last, 1), count), 0) };
  },
  // No kernel skips keys between sequences.
  features<V>({ operands: { offsets, keyOffsets, keyLengths } }: Mask<V, Data>) {
    return keyLengths === undefined ? { documents: { offsets, keyOffsets } } : undefined;
  },
  implies: ({ operands: { offsets, keyOffsets } }) => ({ documents: { offsets, keyOffsets } }),
  // A token of any sequence attends to itself.
  seesOwnKey({ operands: { offsets, keyOffsets, keyLengths } }, { graph, seq }, { covers }) {
    if (!sameRows(offsets, keyOffsets, keyLengths)) return undefined;
    return covers?.(offsets, seq) ? true : queryColumn(graph.ops.greater(sequenceOf(graph, offsets, seq), 0), seq);
  },
  placing: {
    places: ({ operands }, { seq, kvSeq }) => placesIn(operands, seq, kvSeq),
    tensors: ({ operands }, frame) => packedPlaces(operands, frame),
    sequences: ({ operands: { offsets } }) => subDims(offsets.dims[0]!, 1),
    startsTogether: ({ operands: { offsets, keyOffsets, keyLengths } }) => sameRows(offsets, keyOffsets, keyLengths),
  } satisfies MaskPositioning<Data>,
  print: ({ operands: { keyLengths } }) => (keyLengths === undefined ? 'documents' : 'documents with padded keys'),
});

/** Each query is in the row of the key at its position. */
const sameRows = <V>(offsets: V, keyOffsets: V, keyLengths: V | undefined): boolean =>
  offsets === keyOffsets && keyLengths === undefined;

/**
 * Packed sequences: query token t of sequence i (`offsets[i] <= t < offsets[i + 1]`) attends to the keys of sequence i; offsets int64 [sequences + 1].
 * Positions are counted within a sequence, whose last key is at the position of its last query, for other masks too. Use it alone, or once among masks joined by
 * {@link and}.
 *
 * The keys of sequence i are `keyOffsets[i]` up to `keyOffsets[i + 1]`, or with `keyLengths`, int64 [sequences], the first `keyLengths[i]` of them: the rest is
 * padding, which no query attends to, and the last key is the last one before it.
 */
export const documents = <V>(offsets: V, keyOffsets: V = offsets, keyLengths?: V): Mask<V> =>
  documentsMask({ operands: { offsets, keyOffsets, ...(keyLengths !== undefined && { keyLengths }) } as Record<Data, V> });

function expectOffsets(name: string, offsets: TensorType, dims: readonly Dim[]): void {
  if (offsets.dims.length !== 1) throw mismatch(`${name} do not have 1 axis`, '[sequences + 1]', printType(offsets));
  expectType(name, offsets, 'int64', dims);
}

// ---- In numbers ----------------------------------------------------------------------------------------------------------

function placesIn({ offsets, keyOffsets, keyLengths }: Packed<NDArray>, seq: number, kvSeq: number) {
  const [queries, keys] = [rowPlaces(offsets, seq), rowPlaces(keyOffsets, kvSeq)];
  const lengthOfKeys = (sequence: number): number => {
    const space = lengthOf(keyOffsets, sequence);
    return keyLengths ? Math.min(space, keyLengths.data[sequence]!) : space;
  };
  const query = (i: number): QueryPlace | undefined => {
    const own = queries[i];
    const surplus = own && lengthOfKeys(own.sequence) - lengthOf(offsets, own.sequence);
    return own && { sequence: own.sequence, position: own.position + surplus!, index: own.position };
  };
  const key = (j: number) => (keys[j] && keys[j].position < lengthOfKeys(keys[j].sequence) ? keys[j] : undefined);
  return { query, key };
}

const lengthOf = (offsets: NDArray, sequence: number): number => offsets.data[sequence + 1]! - offsets.data[sequence]!;

function rowPlaces(offsets: NDArray, rows: number): readonly (Omit<QueryPlace, 'index'> | undefined)[] {
  const places: (Omit<QueryPlace, 'index'> | undefined)[] = new Array(rows).fill(undefined);
  for (let sequence = 0; sequence + 1 < offsets.data.length; sequence++)
    for (let position = 0; position < lengthOf(offsets, sequence); position++)
      places[offsets.data[sequence]! + position] = { sequence, position };
  return places;
}

// ---- In values -----------------------------------------------------------------------------------------------------------

function packedPlaces(operands: Packed<Value>, frame: MaskFrame): MaskPositions {
  const { offsets, keyOffsets, keyLengths } = operands;
  const { graph, seq, kvSeq } = frame;
  const { add, gather, max, sub } = graph.ops;
  const together = sameRows(offsets, keyOffsets, keyLengths);
  const keyRows = lazy(() => keyRow(placesUpTo(graph, kvSeq), kvSeq));
  const queryRows = lazy(() => {
    const own = queryColumn(placesUpTo(graph, seq), seq);
    if (together) return own;
    // Sequences are aligned at their ends: query t of sequence i has the position of key t + (end of i among the keys) − (end of i among the queries).
    const ahead = gather(place(sub(endsOfKeys(operands), offsets)), sequenceOf(graph, offsets, seq), 0);
    return add(own, queryColumn(ahead, seq));
  });
  // The sequence of each token; the first one for tokens outside all sequences.
  const numbers = (of: Value, rows: Dim): Value => max(sub(sequenceOf(graph, of, rows), 1), 0);
  const querySequences = lazy(() => queryColumn(numbers(offsets, seq), seq));
  const keySequences = lazy(() => keyRow(numbers(keyOffsets, kvSeq), kvSeq));
  const ofQueries = (data: Value): Value => gather(place(data), querySequences(), 0);
  const ofKeys = (data: Value): Value => gather(place(data), keySequences(), 0);
  return {
    ...frame,
    ...allRows(frame),
    querySequences,
    keySequences,
    keyRows,
    queryRows,
    keyPositions: lazy(() => sub(keyRows(), ofKeys(keyOffsets))),
    queryPositions: lazy(() => sub(queryRows(), ofQueries(keyOffsets))),
    queryIndices: lazy(() => sub(queryColumn(placesUpTo(graph, seq), seq), ofQueries(offsets))),
    ofQueries,
    ofKeys,
    packed: true,
    aligned: false,
    startsTogether: together,
    ownKeyExists: together,
  };
}

// [sequences + 1]: 0, then where the keys of each sequence end.
function endsOfKeys({ keyOffsets, keyLengths }: Packed<Value>): Value {
  if (!keyLengths) return keyOffsets;
  const { add, concat, min, slice } = keyOffsets.graph.ops;
  const starts = slice(keyOffsets, { axes: [0], starts: [0], ends: [keyLengths.dims[0]!] });
  const first = slice(keyOffsets, { axes: [0], starts: [0], ends: [1] });
  return concat([first, min(add(starts, keyLengths), nextOf(keyOffsets))], 0);
}

const nextOf = (offsets: Value): Value => offsets.graph.ops.slice(offsets, { axes: [0], starts: [1], ends: [offsets.dims[0]!] });

// The sequence number of each key, from 1; 0 for padding and outside all sequences.
function sequenceOfKeys(graph: GraphBuilder, operands: Packed<Value>, kvSeq: Dim): Value {
  const sequences = sequenceOf(graph, operands.keyOffsets, kvSeq);
  if (!operands.keyLengths) return sequences;
  const { gather, less, where } = graph.ops;
  const end = gather(place(endsOfKeys(operands)), sequences, 0);
  return where(less(placesUpTo(graph, kvSeq), end), sequences, 0);
}

// The sequence number of keys outside all sequences, different from that of such queries.
const ofNone = (keys: Value): Value => keys.graph.ops.where(keys.graph.ops.greater(keys, 0), keys, -1);

/** The sequence number of each token, from 1; 0 for tokens outside all sequences. */
export function sequenceOf(graph: GraphBuilder, offsets: Value, rows: Dim): Value {
  const { less, lessOrEqual, reduceSum, reshape, slice, where } = graph.ops;
  const last = subDims(offsets.dims[0]!, 1);
  const token = placesUpTo(graph, rows);
  const starts = slice(offsets, { axes: [0], starts: [0], ends: [last] });
  const end = slice(offsets, { axes: [0], starts: [last], ends: [offsets.dims[0]!] });
  const begun = lessOrEqual(place(reshape(starts, [1, last])), reshape(token, [rows, 1]));
  const count = reduceSum(place(begun), [1], { keepDims: false });
  return where(less(token, place(end)), count, 0);
}
