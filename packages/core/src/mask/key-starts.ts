// The keys of each sequence from a position on.
import { addDims, type Dim } from '../dim/dim';
import type { Value } from '../ir/graph';
import { expectType } from './check';
import { endsIn } from './key-range';
import { defineMask, type Mask, type Truth } from './mask';
import { place, placeOf } from './places';
import { increasedBy } from './prefix-tokens';
import { either } from './truth';

/** Options of a key starts mask. */
export interface KeyStartsOptions {
  /** Prefix tokens before the padding, which all tokens attend to. */
  readonly prefix?: Dim;
}

/** The class of {@link keyStarts}. */
export const keyStartsMask = defineMask<'keys', KeyStartsOptions>({
  name: 'keyStarts',
  comparesPositions: false,
  ofSequences: () => true,
  check: ({ operands: { keys } }, { sequences }) => expectType('key starts mask', keys, 'int64', [sequences]),
  // Prefix tokens exist in graphs only, where their number may be a symbolic size.
  allows: ({ operands: { keys }, options: { prefix = 0 } }, { to }) =>
    to.position >= keys.data[to.sequence]! || to.position < Number(prefix),
  tensor({ operands: { keys }, options: { prefix = 0 } }, at) {
    const { greaterOrEqual, less } = at.graph.ops;
    const inFront: Truth = prefix === 0 ? false : less(at.keyPositions(), placeOf(at.graph, prefix));
    return either(inFront, greaterOrEqual(at.keyPositions(), at.ofKeys(keys)));
  },
  keyRange: ({ operands: { keys }, options: { prefix = 0 } }, { packed }) =>
    packed || prefix !== 0 ? {} : { start: endsIn(place(keys)).first },
  withPrefixTokens: ({ operands: { keys }, options: { prefix = 0 } }, { count, ownKeys }): Mask<Value> =>
    ownKeys
      ? keyStartsMask({ operands: { keys: increasedBy(keys, count) }, options: { prefix: addDims(prefix, count) } })
      : keyStartsMask({ operands: { keys }, options: { prefix } }),
  mayHaveGaps: ({ options: { prefix = 0 } }) => prefix !== 0,
});

/** The keys of each sequence from a position on, as with padding on the left: positions `>= keys[s]`, int64 [batch], of packed sequences [sequences]. */
export const keyStarts = <V>(keys: V): Mask<V> => keyStartsMask({ operands: { keys } });
