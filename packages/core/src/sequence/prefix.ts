// The sequence context after prefix tokens were added: class tokens, the patches of an image before a text.

import type { Dim } from '../dim/dim';
import { ConfigError } from '../error';
import { aLayout, anObject, given } from '../given';
import type { Value } from '../ir/graph';
import { type Mask, printMask } from '../mask/mask';
import { increasedBy, padStart, withPrefixTokens } from '../mask/prefix-tokens';
import { type Memory, type SequenceContext, withContext, without } from './context';
import type { HiddenStates } from './hidden-states';
import type { PackedLayout } from './layout';

/** Number of prefix tokens, and of positions without them. */
interface Prefix {
  readonly count: Dim;
  readonly before: Dim;
}
/** Axes of a mask, counted from its end, that count positions: queries, and in self attention keys. */
type Axes = readonly (1 | 2)[];
const [ofQueries, ofBoth]: readonly [Axes, Axes] = [[2], [1, 2]];

/**
 * The context after `count` prefix tokens were added to the `before` positions of `ctx`. All positions attend to the prefix tokens, which
 * attend to every real position. Positions, lengths, and masks and biases over the original positions are extended by `count`. Masks and biases that
 * already cover all positions do not change.
 *
 * Throws   ConfigError for a packed batch, for which there is {@link prefixed}, a state (prefix tokens of a later call would be in the middle), and a mask that cannot be extended
 * Example  const within = withPrefix(ctx, { count: 1, before: x.dims[1]! });
 */
export function withPrefix(ctx: SequenceContext, prefix: Prefix): SequenceContext {
  given('withPrefix', { ctx, prefix }, { ctx: anObject, prefix: anObject });
  const { lengths, bias, memory, layout, state } = ctx;
  given('withPrefix', { layout }, { layout: aLayout });
  if (layout.kind === 'packed' || state)
    throw new ConfigError({
      path: 'position',
      problem: 'prefix tokens can only be added to whole sequences',
      expected: 'a padded batch without a state',
      got: state ? 'a state' : 'a packed batch',
    });
  return withContext(without(ctx, 'grid'), {
    mask: grownMask(ctx.mask, prefix, ofBoth),
    get positions() {
      return this.shared!.get(`positions behind ${prefix.count} of ${ctx.positions.id}`, () =>
        grownPositions(ctx.positions, prefix),
      );
    },
    ...(lengths && { lengths: increasedBy(lengths, prefix.count) }),
    ...(bias && { bias: grown(bias, prefix, ofBoth, 0) }),
    ...(memory && { memory: grownMemory(memory, prefix) }),
  });
}

/**
 * The same prefix tokens in front of each sequence, a class token for example, with the context of all rows. Sequences may be padded or packed.
 *
 * Shapes   x [batch, seq, dim], first [count, dim] → [batch, count + seq, dim]; packed [tokens, dim] → [tokens + count · batch, dim]
 * Throws   ConfigError for a state, for an attention bias of a packed batch, and for a mask that cannot be extended
 * Example  const { hiddenStates } = prefixed(x, ops.slice(x, { axes: [0], starts: [0], ends: [1] }), ctx);
 */
export function prefixed(x: Value, first: Value, ctx: SequenceContext): HiddenStates {
  given('prefixed', { x, first, ctx }, { ctx: anObject });
  const [count, ...inner] = first.dims as readonly [Dim, ...Dim[]];
  if (ctx.layout.kind === 'packed') return packedBehind(x, first, ctx, ctx.layout);
  const [batch, before] = x.dims as readonly [Dim, Dim];
  const { concat, expand, reshape } = x.graph.ops;
  const all = concat([expand(reshape(first, [1, count, ...inner]), [batch, count, ...inner]), x], 1);
  return { hiddenStates: all, ctx: withPrefix(ctx, { count, before }) };
}

function packedBehind(x: Value, first: Value, ctx: SequenceContext, layout: PackedLayout): HiddenStates {
  const { bias, memory, state, positionIds } = ctx;
  if (state || bias)
    throw new ConfigError({
      path: 'position',
      problem: 'prefix tokens can only be added to whole sequences',
      expected: 'a packed batch without a state and an attention bias',
      got: state ? 'a state' : 'an attention bias',
    });
  const prefix = { count: first.dims[0]!, before: x.dims[0]! };
  const { rows, layout: longer } = layout.withPrefix(x, first);
  const fed = (): Value => layout.withPrefix(increasedBy(positionIds!, prefix.count), x.graph.ops.iota(x, prefix.count)).rows;
  const within = withContext(without(ctx, 'grid', 'positionIds', 'tokenTypeIds'), {
    layout: longer,
    mask: grownMask(ctx.mask, prefix, ofBoth),
    lengths: longer.lengths,
    get positions() {
      return positionIds ? this.shared!.get(`positions behind ${prefix.count} of ${positionIds.id}`, fed) : longer.positions;
    },
    ...(memory && { memory: grownMemory(memory, prefix) }),
  });
  return { hiddenStates: rows, ctx: within };
}

function grownMemory(memory: Memory, prefix: Prefix): Memory {
  const { mask, bias } = memory;
  return { ...memory, mask: grownMask(mask, prefix, ofQueries), ...(bias && { bias: grown(bias, prefix, ofQueries, 0) }) };
}

function grownMask(mask: Mask<Value>, prefix: Prefix, axes: Axes): Mask<Value> {
  const all = withPrefixTokens(mask, { ...prefix, ownKeys: axes === ofBoth });
  if (all) return all;
  throw new ConfigError({
    path: 'position',
    problem: 'the mask cannot be extended by prefix tokens',
    expected: 'masks of the kinds causal, window, lengths, keyPadding, dense',
    got: printMask(mask),
  });
}

/** Pads the axes that count the original positions with `value` at the beginning. */
function grown(x: Value, { count, before }: Prefix, axes: Axes, value: number): Value {
  return axes.reduce((t, fromEnd) => {
    const axis = t.rank - fromEnd;
    if (t.dims[axis] !== before) return t;
    return padStart(t, axis, count, value);
  }, x);
}

function grownPositions(positions: Value, { count }: Prefix): Value {
  const batch = positions.dims[0]!;
  const { concat, expand, iota, reshape } = positions.graph.ops;
  const first = expand(reshape(iota(positions, count), [1, count]), [batch, count]);
  return concat([first, increasedBy(positions, count)], 1);
}
