// Queries attend only to keys with the same id.
import { expectType } from './check';
import { defineMask, type Mask } from './mask';

/** The class of {@link documentIds}. */
export const documentIdsMask = defineMask<'queries' | 'keys'>({
  name: 'documentIds',
  comparesPositions: false,
  check({ operands: { queries, keys } }, { batch, seq, kvSeq }) {
    expectType('document ids of the queries', queries, 'int64', [batch, seq]);
    expectType('document ids of the keys', keys, 'int64', [batch, kvSeq]);
  },
  allows({ operands: { queries, keys } }, { batch, query, key }) {
    const own = queries.data[batch * queries.dims[1]! + query]!;
    return own >= 0 && own === keys.data[batch * keys.dims[1]! + key];
  },
  tensor({ operands: { queries, keys } }, { graph, ofRows, ofKeyRows }) {
    const { equal, greaterOrEqual, reshape, where } = graph.ops;
    const [batch, seq] = queries.dims;
    // Keys outside all documents get an id that no query has.
    const own = reshape(where(greaterOrEqual(queries, 0), queries, -1), [batch!, 1, seq!, 1]);
    const theirs = reshape(where(greaterOrEqual(keys, 0), keys, -2), [batch!, 1, 1, keys.dims[1]!]);
    return equal(ofRows(own, 2), ofKeyRows(theirs, 3));
  },
});

/**
 * Several documents in one row of a batch: a query attends to the keys with its id, int64 [batch, seq] and [batch, kv_seq]. Tokens with a negative id attend to
 * nothing. Positions are counted in the row, not in the document. For packed sequences, {@link documents} is cheaper.
 */
export const documentIds = <V>(queries: V, keys: V = queries): Mask<V> => documentIdsMask({ operands: { queries, keys } });
