// The first keys of each sequence, up to its length.
import { expectType } from './check';
import { endsIn } from './key-range';
import { defineMask, type Mask } from './mask';
import { place } from './places';
import { increasedBy } from './prefix-tokens';

/** The class of {@link keyLengths}. */
export const lengthsMask = defineMask<'keys'>({
  name: 'lengths',
  comparesPositions: false,
  ofSequences: () => true,
  check: ({ operands: { keys } }, { sequences }) => expectType('lengths mask', keys, 'int64', [sequences]),
  allows: ({ operands: { keys } }, { to }) => to.position < keys.data[to.sequence]!,
  tensor: ({ operands: { keys } }, at) => at.graph.ops.less(at.keyPositions(), at.ofKeys(keys)),
  keyRange: ({ operands: { keys } }, { packed }) => (packed ? {} : { end: endsIn(place(keys)).last }),
  features: ({ operands: { keys } }) => ({ lengths: keys }),
  seesFirstKey: ({ operands: { keys } }, at, { nonEmpty }) =>
    nonEmpty?.(keys) ? true : at.graph.ops.greaterOrEqual(at.ofQueries(keys), 1),
  withPrefixTokens: ({ operands: { keys } }, { count, ownKeys }) => keyLengths(ownKeys ? increasedBy(keys, count) : keys),
});

/** The first keys of each sequence, as with padding on the right: positions `< keys[s]`, int64 [batch], of packed sequences [sequences]. */
export const keyLengths = <V>(keys: V): Mask<V> => lengthsMask({ operands: { keys } });
