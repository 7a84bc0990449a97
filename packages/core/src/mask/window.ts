// Keys within a distance of the query.

import type { Dim } from '../dim/dim';
import { anObject, given } from '../given';
import { endsIn } from './key-range';
import { defineMask, type KeyRange, type Mask, type MaskPositions, type Truth } from './mask';
import { both } from './truth';

/** Bounds of a window, in positions; a missing one is open. */
export interface WindowBounds {
  readonly left?: number;
  readonly right?: number;
}

// Sums of positions up to here do not overflow int32.
const mostRows = 2 ** 30;

/** Keys from `left` before to `right` after the query. */
export function band(at: MaskPositions, left: number | undefined, right: number | undefined): Truth {
  const { add, greaterOrEqual, lessOrEqual, sub } = at.graph.ops;
  // No key is farther from a query than this.
  const furthest = (bound: number, rows: Dim): boolean =>
    bound >= mostRows || (at.aligned && typeof rows === 'number' && bound >= rows - 1);
  const before =
    right === undefined || furthest(right, at.seq)
      ? true
      : lessOrEqual(at.keyRows(), right === 0 ? at.queryRows() : add(at.queryRows(), right));
  const after =
    left === undefined || furthest(left, at.kvSeq)
      ? true
      : greaterOrEqual(at.keyRows(), left === 0 ? at.queryRows() : sub(at.queryRows(), left));
  return both(before, after);
}

/** The rows of keys within these bounds of some query. */
export function rangeOfBand(at: MaskPositions, left: number | undefined, right: number | undefined): KeyRange {
  const { add, sub } = at.graph.ops;
  const bounded = (bound: number | undefined): bound is number => bound !== undefined && bound < mostRows;
  return {
    ...(bounded(left) && { start: sub(endsIn(at.queryRows()).first, left) }),
    ...(bounded(right) && { end: add(endsIn(at.queryRows()).last, right + 1) }),
  };
}

const holdsQuery = ({ left = 0, right = 0 }: WindowBounds): boolean => left >= 0 && right >= 0;

/** The class of {@link slidingWindow}. */
export const windowMask = defineMask<never, WindowBounds>({
  name: 'window',
  comparesPositions: true,
  ofSequences: () => true,
  measuresDistance: true,
  allows({ options: { left = Number.POSITIVE_INFINITY, right = Number.POSITIVE_INFINITY } }, { from, to }) {
    const ahead = to.position - from.position;
    return -ahead <= left && ahead <= right;
  },
  tensor: ({ options: { left, right } }, at) => band(at, left, right),
  keyRange: ({ options: { left, right } }, at) => rangeOfBand(at, left, right),
  features: ({ options }) => options,
  seesOwnKey: ({ options }) => (holdsQuery(options) ? true : undefined),
  seesFirstKey: ({ options }, at) =>
    options.left === undefined && (options.right === undefined || (holdsQuery(options) && at.ownKeyExists)) ? true : undefined,
  withPrefixTokens: (mask) => mask as Mask<never>,
  print: ({ options: { left, right } }) => `window(${left ?? '∞'} left, ${right ?? '∞'} right)`,
});

/** Keys from `left` before the query to `right` after it, both inclusive, in positions. */
export function slidingWindow(options: WindowBounds): Mask<never> {
  given('slidingWindow', { options }, { options: anObject });
  const { left, right } = options;
  return windowMask({ options: { ...(left !== undefined && { left }), ...(right !== undefined && { right }) } });
}
