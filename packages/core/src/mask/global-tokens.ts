// Tokens that attend to all others, and that all others attend to.
import { addDims, type Dim } from '../dim/dim';
import type { Value } from '../ir/graph';
import { expectCount, expectType } from './check';
import { defineMask, type Mask, type Truth } from './mask';
import { placeOf } from './places';
import { padStart } from './prefix-tokens';
import { both, either } from './truth';

type Flags = 'queries' | 'keys';
/** Options of a mask of global tokens. */
export interface GlobalOptions {
  /** The first tokens of each sequence. */
  readonly count?: Dim;
}

/** The class of {@link globalTokens}. */
export const globalMask = defineMask<Flags, GlobalOptions>({
  name: 'global',
  comparesPositions: true,
  ofSequences: ({ operands: { queries, keys } }) => queries === undefined && keys === undefined,
  check({ operands: { queries, keys } }, { batch, seq, kvSeq }) {
    if (queries) expectType('global queries', queries, 'bool', [batch, seq]);
    if (keys) expectType('global keys', keys, 'bool', [batch, kvSeq]);
  },
  allows({ operands: { queries, keys }, options: { count = 0 } }, { batch, query, key, from, to }) {
    if (queries && queries.data[batch * queries.dims[1]! + query] !== 0) return true;
    if (keys && keys.data[batch * keys.dims[1]! + key] !== 0) return true;
    const first = (position: number): boolean => position >= 0 && position < Number(count);
    return first(from.position) || first(to.position);
  },
  tensor({ operands: { queries, keys }, options: { count = 0 } }, at) {
    const { greaterOrEqual, less, reshape } = at.graph.ops;
    const first = (positions: () => Value): Truth => (count === 0 ? false : less(positions(), placeOf(at.graph, count)));
    // More queries than keys start before position 0.
    const exist = (): Truth => (at.ownKeyExists ? true : greaterOrEqual(at.queryPositions(), 0));
    const flagged: Truth[] = [
      queries ? at.ofRows(reshape(queries, [queries.dims[0]!, 1, queries.dims[1]!, 1]), 2) : false,
      keys ? reshape(keys, [keys.dims[0]!, 1, 1, keys.dims[1]!]) : false,
    ];
    return [both(first(at.queryPositions), count === 0 || exist()), first(at.keyPositions), ...flagged].reduce(either);
  },
  withPrefixTokens({ operands: { queries, keys }, options: { count = 0 } }, front): Mask<Value> {
    const flags = {
      ...(queries && { queries: padStart(queries, 1, front.count, 1) }),
      ...(keys && { keys: front.ownKeys ? padStart(keys, 1, front.count, 1) : keys }),
    };
    return globalMask({ operands: flags as never, options: { count: count === 0 ? 0 : addDims(count, front.count) } });
  },
  print: ({ options: { count } }) => (count === undefined ? 'global' : `global(${count})`),
});

/** Which tokens are global: flags bool [batch, seq] and [batch, kv_seq]. */
export interface GlobalTokens<V> {
  readonly queries?: V;
  readonly keys?: V;
}

/**
 * Global tokens attend to all keys of their sequence, and all queries attend to them: the first `count` of each sequence, or those with a flag. Usually added to
 * a local mask: `or(slidingWindow({ left: 64, right: 64 }), globalTokens(1))`. Positions are those of the batch: padding on the left counts.
 *
 * Source   Beltagy et al. 2020, https://arxiv.org/abs/2004.05150
 *
 * @throws ShapeError for a number that is not a count
 */
export function globalTokens(count: number): Mask<never>;
export function globalTokens<V>(flags: GlobalTokens<V>): Mask<V>;
export function globalTokens<V>(which: number | GlobalTokens<V>): Mask<V> {
  if (typeof which === 'object') return globalMask({ operands: which as never });
  expectCount('globalTokens', which, 0);
  return globalMask<never>({ operands: {} as never, options: { count: which } });
}
