// Pairs that one of several masks allows.
import { aMaskEach, given } from '../given';
import { joined } from './join';
import { keyRangeOf, wider } from './key-range';
import { defineMask, type Mask, printMask } from './mask';
import { none } from './none';
import { either } from './truth';

/** The class of {@link or}. */
export const orMask = defineMask({
  name: 'or',
  comparesPositions: false,
  ofSequences: () => true,
  allows: ({ parts }, pair) => parts.some((part) => part.class.definition.allows(part, pair)),
  tensor: ({ parts }, at) => parts.map((part) => part.class.definition.tensor(part, at)).reduce(either),
  keyRange: ({ parts }, at) => parts.map((part) => keyRangeOf(part, at)).reduce(wider),
  withPrefixTokens: ({ parts }) => or(...parts),
  print: ({ parts }) => parts.map(printMask).join(' or '),
});

/** Pairs that at least one of the masks allows. */
export function or<V>(...masks: readonly Mask<V>[]): Mask<V> {
  given('or', { masks }, { masks: aMaskEach });
  const parts = joined(orMask.class, masks);
  if (parts.length === 0 || parts.some((m) => m.class === none.class)) return none;
  return parts.length === 1 ? parts[0]! : orMask({ parts });
}
