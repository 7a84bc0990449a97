// Keys within a distance of the query, counted from the first key.
import { anObject, given } from '../given';
import { endsIn } from './key-range';
import { defineMask, type Mask } from './mask';
import { both } from './truth';
import type { WindowBounds } from './window';

/** The class of {@link slidingWindowFromTopLeft}. */
export const windowFromTopLeftMask = defineMask<never, WindowBounds>({
  name: 'windowFromTopLeft',
  comparesPositions: true,
  measuresDistance: true,
  ofSequences: () => true,
  allows({ options: { left = Number.POSITIVE_INFINITY, right = Number.POSITIVE_INFINITY } }, { from, to }) {
    const ahead = to.position - from.index;
    return -ahead <= left && ahead <= right;
  },
  tensor({ options: { left, right } }, at) {
    const { add, greaterOrEqual, lessOrEqual, sub } = at.graph.ops;
    const before = right === undefined || lessOrEqual(at.keyPositions(), add(at.queryIndices(), right));
    const after = left === undefined || greaterOrEqual(at.keyPositions(), sub(at.queryIndices(), left));
    return both(before, after);
  },
  keyRange({ options: { left, right } }, at) {
    const { add, sub } = at.graph.ops;
    if (at.packed) return {};
    const { first, last } = endsIn(at.queryIndices());
    return {
      ...(left !== undefined && { start: sub(first, left) }),
      ...(right !== undefined && { end: add(last, right + 1) }),
    };
  },
  withPrefixTokens: (mask) => mask as Mask<never>,
  print: ({ options: { left, right } }) => `window from the top left(${left ?? '∞'} left, ${right ?? '∞'} right)`,
});

/**
 * Keys i − `left` … i + `right` of a sequence for its query i, also if there are more keys than queries (top-left). With equal numbers it is
 * {@link slidingWindow}, which more kernels support.
 */
export function slidingWindowFromTopLeft(options: WindowBounds): Mask<never> {
  given('slidingWindowFromTopLeft', { options }, { options: anObject });
  const { left, right } = options;
  return windowFromTopLeftMask({ options: { ...(left !== undefined && { left }), ...(right !== undefined && { right }) } });
}
