// Masks after prefix tokens were added before each sequence.

import type { Dim } from '../dim/dim';
import { aMask, anObject, given } from '../given';
import type { Value } from '../ir/graph';
import type { Mask, PrefixTokens } from './mask';

/** `value` prepended `count` times along an axis. */
export function padStart(x: Value, axis: number, count: Dim, value: number): Value {
  given('padStart', { x });
  const { concat, fill } = x.graph.ops;
  return count ? concat([fill(x, x.dims.with(axis, count), value, x.dtype), x], axis) : x;
}

/** x + count, for lengths and other int64 values. */
export function increasedBy(x: Value, count: Dim): Value {
  const { add, size } = x.graph.ops;
  return count === 0 ? x : add(x, typeof count === 'number' ? count : size(x, count));
}

/**
 * The same mask after prefix tokens were added before each sequence; undefined if the mask cannot express it. All tokens attend to the prefix,
 * and the prefix to all real tokens; for a mask that compares positions, the prefix counts as positions.
 */
export function withPrefixTokens(mask: Mask<Value>, front: PrefixTokens): Mask<Value> | undefined {
  given('withPrefixTokens', { mask, prefix: front }, { mask: aMask, prefix: anObject });
  const { withPrefixTokens: grown } = mask.class.definition;
  if (!grown) return undefined;
  const parts = mask.parts.map((part) => withPrefixTokens(part, front));
  return parts.every((part) => part !== undefined) ? grown({ ...mask, parts }, front) : undefined;
}
