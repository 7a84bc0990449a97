// Which positions of a padded batch are real.
import { anObject, given } from '../given';
import type { Value } from '../ir/graph';
import { impliedBy } from '../mask/features';
import type { SequenceContext } from './context';
import { flagsOfThisCall } from './padding';

/**
 * True for the positions of this call that are not padding, by `lengths` and a padding mask of the context.
 *
 * Shapes   x [batch, seq, …] → bool [batch, seq], or undefined if every position is real
 * Lowers   everywhere: Range, Less, And; a part of the mask if there is a state
 */
export function realPositionsOf(x: Value, ctx: Pick<SequenceContext, 'lengths' | 'mask' | 'state'>): Value | undefined {
  given('realPositionsOf', { x, ctx }, { ctx: anObject });
  const { lengths, mask, state } = ctx;
  const { iota, less, logicalAnd, reshape, unsqueeze } = x.graph.ops;
  const seq = x.dims[1]!;
  const within = lengths && less(reshape(iota(x, seq), [1, seq]), unsqueeze(lengths, [1]));
  const { keyPadding: all } = impliedBy(mask);
  const keyPadding = all && state ? flagsOfThisCall(all, seq, state.keys.queryOffset) : all;
  return within && keyPadding ? logicalAnd(within, keyPadding) : (within ?? keyPadding);
}
