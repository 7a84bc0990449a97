// A query does not attend to later keys.
import { defineMask } from './mask';
import { band } from './window';

/** The class of {@link causal}. */
export const causalMask = defineMask({
  name: 'causal',
  comparesPositions: true,
  allows: (_, { from, to }) => to.position <= from.position,
  tensor: (_, at) => band(at, undefined, 0),
  features: () => ({ right: 0 }),
  seesOwnKey: () => true,
  seesFirstKey: (_, at) => (at.ownKeyExists ? true : undefined),
  withPrefixTokens: (mask) => mask,
});

/** Keys at the query's position and before it. Positions are counted from the start of a sequence. */
export const causal = causalMask();
