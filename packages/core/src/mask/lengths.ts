// The first keys of each sequence, up to its length.
import { expectType } from './check';
import { defineMask, type Mask } from './mask';
import { column } from './places';
import { increasedBy } from './prefix-tokens';

/** The class of {@link keyLengths}. */
export const lengthsMask = defineMask<'keys'>({
  name: 'lengths',
  comparesPositions: false,
  check: ({ operands: { keys } }, { batch }) => expectType('lengths mask', keys, 'int64', [batch]),
  allows: ({ operands: { keys } }, { batch, key }) => key < keys.data[batch]!,
  tensor: ({ operands: { keys } }, at) => at.graph.ops.less(at.keyRows(), column(keys)),
  features: ({ operands: { keys } }) => ({ lengths: keys }),
  seesFirstKey: ({ operands: { keys } }, { graph }, nonEmpty) =>
    nonEmpty(keys) ? true : graph.ops.greaterOrEqual(column(keys), 1),
  withPrefixTokens: ({ operands: { keys } }, { count, ownKeys }) => keyLengths(ownKeys ? increasedBy(keys, count) : keys),
});

/** Keys within the length of their sequence: positions `< keys[b]`, int64 [batch]. */
export const keyLengths = <V>(keys: V): Mask<V> => lengthsMask({ operands: { keys } });
