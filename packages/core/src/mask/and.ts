// Pairs that all of several masks allow.
import { aMaskEach, given } from '../given';
import type { Value } from '../ir/graph';
import { featuresOf, impliedBy, joinFeatures } from './features';
import { joined } from './join';
import { keyRangeOf, narrower } from './key-range';
import { defineMask, type Mask, printMask, type Truth } from './mask';
import { none } from './none';
import { both } from './truth';
import { band } from './window';

/** The class of {@link and}. */
export const andMask = defineMask({
  name: 'and',
  conjunctive: true,
  comparesPositions: false,
  ofSequences: () => true,
  allows: ({ parts }, pair) => parts.every((part) => part.class.definition.allows(part, pair)),
  tensor({ parts }, at) {
    // Bounds are joined first: a causal mask and a window compare once on each side.
    const bounds = parts.map(boundsOf);
    const { left, right } = bounds.reduce((a, b) => (b ? joinFeatures(a!, b) : a), {})!;
    const others = parts.filter((_, i) => !bounds[i]).map((part) => part.class.definition.tensor(part, at));
    return others.concat(band(at, left, right)).reduce(both);
  },
  features<V>({ parts }: Mask<V>) {
    return parts.map((part) => featuresOf(part)).reduce((a, b) => a && b && joinFeatures(a, b));
  },
  implies<V>({ parts }: Mask<V>) {
    return parts.map((part) => impliedBy(part)).reduce((a, b) => joinFeatures(a, b) ?? a);
  },
  keyRange: ({ parts }, at) => parts.map((part) => keyRangeOf(part, at)).reduce(narrower),
  seesOwnKey: ({ parts }, at, known) => everyTruth(parts, (part) => part.class.definition.seesOwnKey?.(part, at, known)),
  seesFirstKey: ({ parts }, at, known) => everyTruth(parts, (part) => part.class.definition.seesFirstKey?.(part, at, known)),
  withPrefixTokens: ({ parts }) => and(...parts),
  print: ({ parts }) => parts.map(printMask).join(', '),
});

/** Pairs that all of the masks allow. `none` and repeated masks are removed, nested ands are joined. */
export function and<V>(...masks: readonly Mask<V>[]): Mask<V> {
  given('and', { masks }, { masks: aMaskEach });
  const parts = joined(andMask.class, masks).filter((m) => m.class !== none.class);
  if (parts.length === 0) return none;
  return parts.length === 1 ? parts[0]! : andMask({ parts });
}

// For a mask that only bounds the distance between query and key.
function boundsOf(mask: Mask<Value>) {
  const features = featuresOf(mask);
  return features && Object.keys(features).every((name) => name === 'left' || name === 'right') ? features : undefined;
}

function everyTruth(parts: readonly Mask<Value>[], of: (part: Mask<Value>) => Truth | undefined): Truth | undefined {
  return parts.map(of).reduce((a, b) => (a === undefined || b === undefined ? undefined : both(a, b)));
}
