// Losses that layers add to that of the model: terms that only training reads.
import { aMap, anObject, given } from '../given';
import type { Value } from '../ir/graph';
import { add } from '../ops/elementwise';
import type { SequenceContext } from './context';

const lossesOf = ({ shared }: Pick<SequenceContext, 'shared'>): Value[] => {
  given('auxiliaryLoss', { 'ctx.shared': shared }, { 'ctx.shared': aMap });
  return shared.get<Value[]>('auxiliary losses', () => []);
};

/**
 * Adds a term to the auxiliary loss of the model, for instance one that balances experts. Inference does not compute it.
 *
 * Shapes   term: a scalar
 * Example  addAuxiliaryLoss(ctx, ops.reduceMean(x, [0, 1, 2], { keepDims: false }));
 */
export function addAuxiliaryLoss(ctx: Pick<SequenceContext, 'shared'>, term: Value): void {
  given('addAuxiliaryLoss', { ctx, term }, { ctx: anObject });
  lossesOf(ctx).push(term);
}

/**
 * The sum of the auxiliary losses of the layers that ran with this context; undefined if no layer has one. A training step adds it, times a
 * factor, to the loss.
 *
 * Shapes   → a scalar
 * Lowers   everywhere: Add
 * Example  const loss = ops.mul(auxiliaryLoss(ctx)!, 0.01);
 */
export function auxiliaryLoss(ctx: Pick<SequenceContext, 'shared'>): Value | undefined {
  given('auxiliaryLoss', { ctx }, { ctx: anObject });
  return lossesOf(ctx).reduce<Value | undefined>((sum, term) => (sum ? add(sum, term) : term), undefined);
}
