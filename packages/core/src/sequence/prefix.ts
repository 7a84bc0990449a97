// What a context says once rows stand in front of every sequence: class tokens, the patches of an image before a text.
import type { Dim } from '../dim/dim';
import { ConfigError } from '../error';
import type { Value } from '../ir/graph';
import { type Mask, printMask } from '../mask/mask';
import { inFront, moreBy, withPrefixTokens } from '../mask/prefix-tokens';
import { concat, expand, reshape } from '../ops/movement';
import { iota } from '../ops/shape';
import { type Memory, type SequenceContext, withContext, without } from './context';

/** How many rows stand in front of how many. */
interface Prefix {
  readonly count: Dim;
  readonly before: Dim;
}
/** Whose rows an axis of a mask counts, from its end: those of queries, and in self attention those of keys. */
type Axes = readonly (1 | 2)[];
const [ofQueries, ofBoth]: readonly [Axes, Axes] = [[2], [1, 2]];

/**
 * The context of `count` rows in front of the `before` rows of `ctx`. All rows see the new ones, which see every row that is real; positions,
 * lengths, and masks and biases that count the rows before grow by as many. Masks and biases that count all rows already stay as they are.
 *
 * Throws   ConfigError for packed rows, a state (rows in front of a later call would stand in the middle), and a mask that cannot grow
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
    ...(lengths && { lengths: moreBy(lengths, prefix.count) }),
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

/** `value` in front along the axes that count the rows before. */
function grown(x: Value, { count, before }: Prefix, axes: Axes, value: number): Value {
  return axes.reduce((t, fromEnd) => {
    const axis = t.rank - fromEnd;
    if (t.dims[axis] !== before) return t;
    return inFront(t, axis, count, value);
  }, x);
}

function grownPositions(positions: Value, { count }: Prefix): Value {
  const batch = positions.dims[0]!;
  const first = expand(reshape(iota(positions, count), [1, count]), [batch, count]);
  return concat([first, moreBy(positions, count)], 1);
}
