// A query does not attend to later keys.
import { defineMask } from './mask';
import { band, rangeOfBand } from './window';

/** The class of {@link causal}. */
export const causalMask = defineMask({
  name: 'causal',
  comparesPositions: true,
  ofSequences: () => true,
  allows: (_, { from, to }) => to.position <= from.position,
  tensor: (_, at) => band(at, undefined, 0),
  keyRange: (_, at) => rangeOfBand(at, undefined, 0),
  features: () => ({ right: 0 }),
  seesOwnKey: () => true,
  seesFirstKey: (_, at) => (at.ownKeyExists ? true : undefined),
  withPrefixTokens: (mask) => mask,
});

/**
 * Keys at the query's position and before it. If there are more keys than queries, the last query is at the position of the last key ("bottom-right"), as with
 * cached keys; {@link causalFromTopLeft} counts from the first.
 */
export const causal = causalMask();
