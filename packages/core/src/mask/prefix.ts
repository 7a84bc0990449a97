// A prefix that all queries attend to, and causal after it.
import { addDims, type Dim } from '../dim/dim';
import { expectCount, expectType } from './check';
import { endsIn } from './key-range';
import { defineMask, type Mask, type Truth } from './mask';
import { place, placeOf } from './places';
import { increasedBy } from './prefix-tokens';
import { either } from './truth';
import { band, rangeOfBand } from './window';

/** Options of a prefix mask. */
export interface PrefixOptions {
  /** One length for all sequences. */
  readonly length?: Dim;
}

/** The class of {@link prefix}. */
export const prefixMask = defineMask<'lengths', PrefixOptions>({
  name: 'prefix',
  comparesPositions: true,
  ofSequences: () => true,
  check({ operands: { lengths } }, { sequences }) {
    if (lengths) expectType('prefix lengths', lengths, 'int64', [sequences]);
  },
  allows: ({ operands: { lengths }, options: { length } }, { from, to }) =>
    to.position <= from.position || to.position < (lengths ? lengths.data[to.sequence]! : Number(length)),
  tensor({ operands: { lengths }, options: { length = 0 } }, at) {
    const end = lengths ? at.ofKeys(lengths) : placeOf(at.graph, length);
    const inPrefix: Truth = length === 0 && !lengths ? false : at.graph.ops.less(at.keyPositions(), end);
    return either(inPrefix, band(at, undefined, 0));
  },
  keyRange({ operands: { lengths }, options: { length = 0 } }, at) {
    if (at.packed) return {};
    const end = lengths ? endsIn(place(lengths)).last : placeOf(at.graph, length);
    return { end: at.graph.ops.max(rangeOfBand(at, undefined, 0).end!, end) };
  },
  seesOwnKey: () => true,
  seesFirstKey: (_, at) => (at.ownKeyExists ? true : undefined),
  withPrefixTokens: ({ operands: { lengths }, options: { length = 0 } }, { count, ownKeys }) => {
    if (!ownKeys) return lengths ? prefix(lengths) : ofLength(length);
    return lengths ? prefix(increasedBy(lengths, count)) : ofLength(addDims(length, count));
  },
  print: ({ options: { length } }) => (length === undefined ? 'prefix' : `prefix(${length})`),
});

const ofLength = (length: Dim): Mask<never> => prefixMask<never>({ operands: {} as never, options: { length } });

/**
 * Prefix LM: all queries attend to the first keys of their sequence, and causally to the rest. The length of the prefix is a number, or int64 [batch], of packed
 * sequences [sequences]. Positions are those of the batch: padding on the left counts.
 *
 * Source   Raffel et al. 2020, https://arxiv.org/abs/1910.10683 (section 3.2.1)
 *
 * @throws ShapeError for a number that is not a length
 */
export function prefix(length: number): Mask<never>;
export function prefix<V extends object | string>(length: V): Mask<V>;
export function prefix<V>(length: V | number): Mask<V> {
  if (typeof length !== 'number') return prefixMask({ operands: { lengths: length } });
  expectCount('prefix', length, 0);
  return ofLength(length);
}
