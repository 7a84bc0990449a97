// Queries attend only to keys of their own document.
import { type Dim, subDims } from '../dim/dim';
import { printType, type TensorType } from '../ir/define-op';
import { type GraphBuilder, mismatch, type Value } from '../ir/graph';
import type { NDArray } from '../tensor/tensor';
import { expectType } from './check';
import { defineMask, type Mask, type MaskFrame, type MaskPositioning, type MaskPositions, type QueryPlace } from './mask';
import { allRows, keyRow, lazy, place, placesUpTo, queryColumn } from './places';

type Offsets = 'offsets' | 'keyOffsets';

/** The class of {@link documents}. */
export const documentsMask = defineMask<Offsets>({
  name: 'documents',
  comparesPositions: false,
  check({ operands: { offsets, keyOffsets } }, { batch, queryOffset }) {
    expectOffsets('documents offsets', offsets, offsets.dims);
    expectOffsets('documents keyOffsets', keyOffsets, offsets.dims);
    if (batch !== 1) throw mismatch('a documents mask requires packed sequences', 'batch 1', `batch ${batch}`);
    if (queryOffset)
      throw mismatch('packed sequences cannot have a queryOffset', 'keyOffsets that include the cached positions', 'queryOffset');
  },
  allows: (_, { from, to }) => from.sequence === to.sequence,
  tensor({ operands }, { graph, allQueries, kvSeq, ofRows }) {
    const queries = ofRows(queryColumn(sequenceOf(graph, operands.offsets, allQueries), allQueries), 2);
    return graph.ops.equal(queries, keyRow(ofNone(sequenceOf(graph, operands.keyOffsets, kvSeq)), kvSeq));
  },
  features: ({ operands: { offsets, keyOffsets } }) => ({ documents: { offsets, keyOffsets } }),
  // A token of any sequence attends to itself.
  seesOwnKey: ({ operands: { offsets, keyOffsets } }, { graph, seq }) =>
    offsets === keyOffsets ? queryColumn(graph.ops.greater(sequenceOf(graph, offsets, seq), 0), seq) : undefined,
  placing: {
    places: ({ operands: { offsets, keyOffsets } }, { seq, kvSeq }) => placesIn(offsets, keyOffsets, seq, kvSeq),
    tensors: ({ operands: { offsets, keyOffsets } }, frame) => packedPlaces(offsets, keyOffsets, frame),
    sequences: ({ operands: { offsets } }) => subDims(offsets.dims[0]!, 1),
    startsTogether: ({ operands: { offsets, keyOffsets } }) => offsets === keyOffsets,
  } satisfies MaskPositioning<Offsets>,
});

/**
 * Packed sequences: query token t of sequence i (`offsets[i] <= t < offsets[i + 1]`) attends to the keys of sequence i; offsets int64 [sequences + 1].
 * Positions are counted within a sequence, whose last key is at the position of its last query, for other masks too. Use it alone, or once among masks joined by
 * {@link and}.
 */
export const documents = <V>(offsets: V, keyOffsets: V = offsets): Mask<V> =>
  documentsMask({ operands: { offsets, keyOffsets } });

function expectOffsets(name: string, offsets: TensorType, dims: readonly Dim[]): void {
  if (offsets.dims.length !== 1) throw mismatch(`${name} do not have 1 axis`, '[sequences + 1]', printType(offsets));
  expectType(name, offsets, 'int64', dims);
}

// ---- In numbers ----------------------------------------------------------------------------------------------------------

function placesIn(offsets: NDArray, keyOffsets: NDArray, seq: number, kvSeq: number) {
  const [queries, keys] = [rowPlaces(offsets, seq), rowPlaces(keyOffsets, kvSeq)];
  const query = (i: number): QueryPlace | undefined => {
    const own = queries[i];
    const surplus = own && lengthOf(keyOffsets, own.sequence) - lengthOf(offsets, own.sequence);
    return own && { sequence: own.sequence, position: own.position + surplus!, index: own.position };
  };
  return { query, key: (j: number) => keys[j] };
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

function packedPlaces(offsets: Value, keyOffsets: Value, frame: MaskFrame): MaskPositions {
  const { graph, seq, kvSeq } = frame;
  const { add, gather, max, sub } = graph.ops;
  const keyRows = lazy(() => keyRow(placesUpTo(graph, kvSeq), kvSeq));
  const queryRows = lazy(() => {
    const own = queryColumn(placesUpTo(graph, seq), seq);
    if (offsets === keyOffsets) return own;
    // Sequences are aligned at their ends: query t of sequence i has the position of key t + (end of i among the keys) − (end of i among the queries).
    const ahead = gather(place(sub(keyOffsets, offsets)), sequenceOf(graph, offsets, seq), 0);
    return add(own, queryColumn(ahead, seq));
  });
  // Data of the sequence of each token; of the first sequence for tokens outside all sequences.
  const at = (perSequence: Value, sequences: Value): Value => gather(place(perSequence), max(sub(sequences, 1), 0), 0);
  const ofQueries = (data: Value): Value => queryColumn(at(data, sequenceOf(graph, offsets, seq)), seq);
  const ofKeys = (data: Value): Value => keyRow(at(data, sequenceOf(graph, keyOffsets, kvSeq)), kvSeq);
  return {
    ...frame,
    ...allRows(frame),
    keyRows,
    queryRows,
    keyPositions: lazy(() => sub(keyRows(), ofKeys(keyOffsets))),
    queryPositions: lazy(() => sub(queryRows(), ofQueries(keyOffsets))),
    queryIndices: lazy(() => sub(queryColumn(placesUpTo(graph, seq), seq), ofQueries(offsets))),
    ofQueries,
    ofKeys,
    aligned: false,
    ownKeyExists: offsets === keyOffsets,
  };
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
