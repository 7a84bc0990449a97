// Tokens that attend to all others, and that all others attend to.
import { addDims, type Dim } from '../dim/dim';
import type { Value } from '../ir/graph';
import { tensor } from '../tensor/convert';
import { expectCount, expectType } from './check';
import { defineMask, type Mask, type MaskPositions, type Truth } from './mask';
import { placeOf } from './places';
import { padStart } from './prefix-tokens';
import { both, either } from './truth';

type Flags = 'queries' | 'keys';
/** Options of a mask of global tokens. */
export interface GlobalOptions {
  /** The first tokens of each sequence. */
  readonly count?: Dim;
  /** The tokens at these positions, ascending. */
  readonly positions?: readonly number[];
  /** The position that `positions` are counted from: they follow so many prefix tokens. */
  readonly start?: Dim;
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
  allows({ operands: { queries, keys }, options: { count = 0, positions = [], start = 0 } }, { batch, query, key, from, to }) {
    if (queries && queries.data[batch * queries.dims[1]! + query] !== 0) return true;
    if (keys && keys.data[batch * keys.dims[1]! + key] !== 0) return true;
    const listed = (position: number): boolean => positions.includes(position - Number(start));
    const first = (position: number): boolean => position >= 0 && position < Number(count);
    return [from, to].some(({ position }) => first(position) || listed(position));
  },
  tensor({ operands: { queries, keys }, options: { count = 0, positions = [], start = 0 } }, at) {
    const { greaterOrEqual, less, reshape } = at.graph.ops;
    const first = (positions: () => Value): Truth => (count === 0 ? false : less(positions(), placeOf(at.graph, count)));
    // More queries than keys start before position 0.
    const exist = (): Truth => (at.ownKeyExists ? true : greaterOrEqual(at.queryPositions(), 0));
    const flagged: Truth[] = [
      queries ? at.ofRows(reshape(queries, [queries.dims[0]!, 1, queries.dims[1]!, 1]), 2) : false,
      keys ? at.ofKeyRows(reshape(keys, [keys.dims[0]!, 1, 1, keys.dims[1]!]), 3) : false,
      ...(positions.length ? [at.queryPositions, at.keyPositions].map((of) => isListed(of(), positions, start, at)) : []),
    ];
    return [both(first(at.queryPositions), count === 0 || exist()), first(at.keyPositions), ...flagged].reduce(either);
  },
  withPrefixTokens({ operands: { queries, keys }, options: { count = 0, positions, start = 0 } }, front): Mask<Value> {
    const flags = {
      ...(queries && { queries: padStart(queries, 1, front.count, 1) }),
      ...(keys && { keys: front.ownKeys ? padStart(keys, 1, front.count, 1) : keys }),
    };
    const listed = positions && { positions, start: addDims(start, front.count) };
    return globalMask({ operands: flags as never, options: { count: count === 0 ? 0 : addDims(count, front.count), ...listed } });
  },
  print: ({ options: { count, positions } }) =>
    positions ? `global(at ${positions.join(', ')})` : count === undefined ? 'global' : `global(${count})`,
});

/** The positions of global tokens where they are the same for all sequences and in every run; undefined for another mask. */
export function globalPositions(mask: Mask<unknown>): readonly number[] | undefined {
  if (mask.class !== globalMask.class || Object.values(mask.operands).some((data) => data !== undefined)) return undefined;
  const { count = 0, positions, start = 0 } = mask.options as GlobalOptions;
  if (typeof count !== 'number' || start !== 0) return undefined;
  return positions ?? Array.from({ length: count }, (_, i) => i);
}

// One row of a table for each position up to the last that is listed, and one for those before and after them.
function isListed(places: Value, positions: readonly number[], start: Dim, { graph }: MaskPositions): Value {
  const { add, clip, gather, sub } = graph.ops;
  const last = positions.at(-1)!;
  const table = new Uint8Array(last + 3);
  for (const position of positions) table[position + 1] = 1;
  const counted = start === 0 ? places : sub(places, placeOf(graph, start));
  return gather(graph.root.constant(tensor('bool', [table.length], table)), add(clip(counted, -1, last + 1), 1), 0);
}

/** Which tokens are global: flags bool [batch, seq] and [batch, kv_seq]. */
export interface GlobalTokens<V> {
  readonly queries?: V;
  readonly keys?: V;
}

/**
 * Global tokens attend to all keys of their sequence, and all queries attend to them: the first `count` of each sequence, those at some positions, or those with a
 * flag. Usually added to a local mask: `or(slidingWindow({ left: 64, right: 64 }), globalTokens(1))`. Positions are those of the batch: padding on the left counts.
 *
 * Source   Beltagy et al. 2020, https://arxiv.org/abs/2004.05150
 *
 * @throws ShapeError for a number that is not a count or a position
 */
export function globalTokens(count: number): Mask<never>;
export function globalTokens(positions: readonly number[]): Mask<never>;
export function globalTokens<V>(flags: GlobalTokens<V>): Mask<V>;
export function globalTokens<V>(which: number | readonly number[] | GlobalTokens<V>): Mask<V> {
  if (isList(which)) {
    for (const position of which) expectCount('globalTokens', position, 0);
    const positions = [...new Set(which)].sort((a, b) => a - b);
    const counted = positions.every((position, i) => position === i);
    return globalMask<never>({ operands: {} as never, options: counted ? { count: positions.length } : { positions } });
  }
  if (typeof which === 'object') return globalMask({ operands: which as never });
  expectCount('globalTokens', which, 0);
  return globalMask<never>({ operands: {} as never, options: { count: which } });
}
const isList = (x: unknown): x is readonly number[] => Array.isArray(x);
