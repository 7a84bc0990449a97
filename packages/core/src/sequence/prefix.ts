// The sequence context after prefix tokens were added: class tokens, the patches of an image before a text.
import type { Dim } from '../dim/dim';
import { ConfigError } from '../error';
import type { Value } from '../ir/graph';
import { type Mask, printMask } from '../mask/mask';
import { increasedBy, padStart, withPrefixTokens } from '../mask/prefix-tokens';
import { concat, expand, reshape } from '../ops/movement';
import { iota } from '../ops/shape';
import { type Memory, type SequenceContext, withContext, without } from './context';

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
 * Throws   ConfigError for a packed batch, a state (prefix tokens of a later call would be in the middle), and a mask that cannot be extended
 * Example  const within = withPrefix(ctx, { count: 1, before: x.dims[1]! });
 */
export function withPrefix(ctx: SequenceContext, prefix: Prefix): SequenceContext {
  const { lengths, bias, memory, layout, state } = ctx;
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
  const first = expand(reshape(iota(positions, count), [1, count]), [batch, count]);
  return concat([first, increasedBy(positions, count)], 1);
}
