// Positions of queries and keys, as values of a graph.
import { type Dim, subDims, termsOf } from '../dim/dim';
import type { TensorType } from '../ir/define-op';
import type { GraphBuilder, Value } from '../ir/graph';
import { conjuncts, type KnownSizes, type Mask, type MaskFrame, type MaskPositions, type MaskSizes } from './mask';

/** int32: large enough for every position, and one GPU provider runs int64 arithmetic on the CPU. */
export const place = (x: Value): Value => x.graph.ops.cast(x, 'int32');
/** 0, 1, … as positions. */
export const placesUpTo = (g: GraphBuilder, n: Dim): Value => g.ops.iota(g, n, 'int32');
/** A size as a position. */
export const placeOf = (g: GraphBuilder, d: Dim): Value => place(g.ops.size(g, d));
/** [batch] as [batch, 1, 1, 1], for all heads, queries and keys. */
export const column = (perBatch: Value): Value => place(perBatch.graph.ops.reshape(perBatch, [perBatch.dims[0]!, 1, 1, 1]));
/** [kv_seq] as [1, 1, 1, kv_seq], for all queries. */
export const keyRow = (x: Value, kvSeq: Dim): Value => x.graph.ops.reshape(x, [1, 1, 1, kvSeq]);
/** [seq] as [1, 1, seq, 1], for all keys. */
export const queryColumn = (x: Value, seq: Dim): Value => x.graph.ops.reshape(x, [1, 1, seq, 1]);

export function lazy<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

/** The mask of a tree that defines positions itself, if there is one. */
export const placingMask = <V>(mask: Mask<V>): Mask<V> | undefined => conjuncts(mask).find((m) => m.class.definition.placing);

/** Positions of queries and keys under a mask. */
export function placesOf(mask: Mask<Value>, frame: MaskFrame): MaskPositions {
  const placing = placingMask(mask);
  return placing?.class.definition.placing?.tensors(placing, frame) ?? plainPlaces(frame);
}

/** For positions of all queries and keys of a call. */
export const allRows = ({ seq, kvSeq }: MaskFrame): Pick<MaskPositions, 'allQueries' | 'allKeys' | 'ofRows' | 'ofKeyRows'> => ({
  allQueries: seq,
  allKeys: kvSeq,
  ofRows: (x) => x,
  ofKeyRows: (x) => x,
});

/** The positions of some queries of a call, given by their indices: int64 or int32 [rows]. */
export function ofChunk(at: MaskPositions, indices: Value): MaskPositions {
  const { gather } = at.graph.ops;
  const ofRows = (x: Value, axis: number): Value => (x.dims[axis] === 1 ? x : gather(x, indices, axis));
  const rows = (of: () => Value) => lazy(() => ofRows(of(), 2));
  return {
    ...at,
    seq: indices.dims[0]!,
    ofRows,
    queryRows: rows(at.queryRows),
    queryPositions: rows(at.queryPositions),
    queryIndices: rows(at.queryIndices),
    querySequences: rows(at.querySequences),
    ofQueries: (perSequence) => ofRows(at.ofQueries(perSequence), 2),
    aligned: false,
  };
}

/** The positions for some keys of a call: `part` selects their entries on an axis of data for all keys. */
export function ofKeyChunk(at: MaskPositions, kvSeq: Dim, part: (perKey: Value, axis: number) => Value): MaskPositions {
  const ofKeyRows = (x: Value, axis: number): Value => (x.dims[axis] === 1 ? x : part(x, axis));
  const keys = (of: () => Value) => lazy(() => ofKeyRows(of(), 3));
  return {
    ...at,
    kvSeq,
    ofKeyRows,
    keyRows: keys(at.keyRows),
    keyPositions: keys(at.keyPositions),
    keySequences: keys(at.keySequences),
    ofKeys: (perSequence) => ofKeyRows(at.ofKeys(perSequence), 3),
    aligned: false,
  };
}

/** What a mask tells about the sizes of an attention. */
export function knownSizes(mask: Mask<TensorType>, sizes: Omit<MaskSizes, 'sequences' | 'packed'>): KnownSizes {
  const { batch, seq, kvSeq, queryOffset } = sizes;
  const placed = placingMask(mask);
  const placing = placed?.class.definition.placing;
  const startsTogether = queryOffset === undefined && (placed && placing ? placing.startsTogether(placed) : seq === kvSeq);
  const sequences = placed && placing ? placing.sequences(placed) : batch;
  return { ...sizes, sequences, packed: placed !== undefined, startsTogether };
}

/** The same mask in the classes that it equals at these sizes and that most kernels support. */
export function atSizes<V extends TensorType>(mask: Mask<V>, sizes: Omit<MaskSizes, 'sequences' | 'packed'>): Mask<V> {
  const known = knownSizes(mask, sizes);
  const simpler = (part: Mask<V>): Mask<V> =>
    part.class.definition.atSizes?.(part, known) ?? { ...part, parts: part.parts.map(simpler) };
  return simpler(mask);
}

const neverNegative = (d: Dim): boolean => termsOf(d).every((t) => t.coefficient > 0);

function plainPlaces(frame: MaskFrame): MaskPositions {
  const { graph, batch, seq, kvSeq, queryOffset } = frame;
  const { add, reshape } = graph.ops;
  const keyRows = lazy(() => keyRow(placesUpTo(graph, kvSeq), kvSeq));
  const queryRows = lazy(() => {
    const own = queryColumn(placesUpTo(graph, seq), seq);
    if (queryOffset) return add(own, column(queryOffset));
    return seq === kvSeq ? own : add(own, placeOf(graph, subDims(kvSeq, seq)));
  });
  const sequences = lazy(() => reshape(placesUpTo(graph, batch), [batch, 1, 1, 1]));
  return {
    ...frame,
    ...allRows(frame),
    keyRows,
    queryRows,
    querySequences: sequences,
    keySequences: sequences,
    keyPositions: keyRows,
    queryPositions: queryRows,
    queryIndices: lazy(() => queryColumn(placesUpTo(graph, seq), seq)),
    ofQueries: column,
    ofKeys: column,
    packed: false,
    aligned: queryOffset === undefined,
    startsTogether: queryOffset === undefined && seq === kvSeq,
    // Inputs are checked; a constant, or what a graph computes, may be negative.
    ownKeyExists: queryOffset
      ? !queryOffset.producer && queryOffset.leaf?.kind !== 'constant'
      : neverNegative(subDims(kvSeq, seq)),
  };
}
