// Which positions of a padded batch are real.
import { ConfigError } from '../error';
import { anObject, given } from '../given';
import type { GraphBuilder, Value } from '../ir/graph';
import { impliedBy } from '../mask/features';
import { type KeyStartsOptions, keyStartsMask } from '../mask/key-starts';
import { conjuncts, type Mask, printMask } from '../mask/mask';
import { unexpanded } from '../ops/unexpanded';
import type { SequenceContext } from './context';
import { limitLengths } from './limits';
import { flagsOfThisCall } from './padding';

/**
 * True for the positions of this call that are not padding, by `lengths`, and by a padding mask or key starts in the mask of the context.
 *
 * Shapes   x [batch, seq, …] → bool [batch, seq], or undefined if every position is real
 * Lowers   everywhere: Range, Less, And; a part of the mask if there is a state
 */
export function realPositionsOf(x: Value, ctx: Pick<SequenceContext, 'lengths' | 'mask' | 'state'>): Value | undefined {
  given('realPositionsOf', { x, ctx }, { ctx: anObject });
  const { lengths, mask, state } = ctx;
  const { add, greaterOrEqual, iota, less, logicalAnd, logicalOr, reshape, unsqueeze } = x.graph.ops;
  const seq = x.dims[1]!;
  const places = (): Value => reshape(iota(x, seq), [1, seq]);
  const within = lengths && less(places(), unsqueeze(lengths, [1]));
  const { keyPadding: all } = impliedBy(mask);
  const keyPadding = all && state ? flagsOfThisCall(all, seq, state.keys.queryOffset) : all;
  const behind = startsIn(mask).map(({ keys, prefix }) => {
    const at = state ? add(unsqueeze(state.pastLengths, [1]), places()) : places();
    const real = greaterOrEqual(at, unsqueeze(keys, [1]));
    return prefix === 0 ? real : logicalOr(real, less(at, x.graph.ops.size(x, prefix)));
  });
  const conditions = [within, keyPadding, ...behind].filter((v) => v !== undefined);
  return conditions.length ? conditions.reduce((a, b) => logicalAnd(a, b)) : undefined;
}

/**
 * Positions that were counted from the start of a padded row, from the first real position instead: the mask may say where it is. Positions in the padding are 0.
 *
 * Shapes   counted int64 [batch, seq] → int64 [batch, seq]
 */
export function fromFirstReal(counted: Value, { mask, shared }: Pick<SequenceContext, 'mask' | 'shared'>): Value {
  const { max, sub, unsqueeze } = counted.graph.root.ops;
  return startsIn(mask).reduce(
    (positions, { keys }) =>
      shared.get(`${positions.id} from ${keys.id}`, () => {
        limitLengths(keys, counted.dims[1]!);
        return max(sub(unexpanded(positions), unsqueeze(keys, [1])), 0);
      }),
    counted,
  );
}

/** Refuses a mask of padding on the left in a packed batch, which has no padding. */
export function refuseStarts(mask: Mask<unknown>, g: GraphBuilder): void {
  if (!conjuncts(mask).some((part) => part.class === keyStartsMask.class)) return;
  throw new ConfigError({
    path: g.where,
    problem: 'the positions of packed sequences do not count from key starts',
    expected: "layout: 'padded', or the input position_ids",
    got: printMask(mask),
    hint: 'Leave the padding out of packed sequences',
  });
}

const startsIn = (mask: Mask<Value>) =>
  conjuncts(mask).flatMap((part) => {
    if (part.class !== keyStartsMask.class) return [];
    const { prefix = 0 } = part.options as KeyStartsOptions;
    return [{ keys: (part.operands as { readonly keys: Value }).keys, prefix }];
  });
