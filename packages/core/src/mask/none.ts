// No mask: every query attends to every key.
import { defineMask } from './mask';

/** The class of {@link none}. */
export const noneMask = defineMask({
  name: 'none',
  conjunctive: true,
  comparesPositions: false,
  ofSequences: () => true,
  allows: () => true,
  tensor: () => true,
  features: () => ({}),
  seesOwnKey: () => true,
  seesFirstKey: () => true,
  withPrefixTokens: (mask) => mask,
});

/** Every query may attend to every key. */
export const none = noneMask();
