// What a context says once rows stand in front of every sequence.
import {
  ConfigError,
  type Dim,
  inFront,
  type Mask,
  type Memory,
  printMask,
  type SequenceContext,
  type Value,
  withContext,
  withPrefixTokens,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';

/** How many rows stand in front of how many. */
interface Front {
  readonly count: number;
  readonly before: Dim;
}
/** Whose rows an axis of a mask counts, from its end: those of queries, and in self attention those of keys. */
type Axes = readonly (1 | 2)[];
const [ofQueries, ofBoth]: readonly [Axes, Axes] = [[2], [1, 2]];

/**
 * The context behind a position block that put rows in front of each sequence, such as a class token. All rows see the new ones, which see
 * every row that is real; masks and biases that count them already stay as they are.
 *
 * Throws   ConfigError for a mask that cannot grow: packed sequences, and what is not to be seen
 */
export function withRowsInFront(ctx: SequenceContext, front: Front): SequenceContext {
  const { lengths, bias, memory } = ctx;
  return withContext(ctx, {
    mask: grownMask(ctx.mask, front, ofBoth),
    get positions() {
      return grownPositions(ctx.positions, front);
    },
    ...(lengths && { lengths: grownLengths(lengths, front.count) }),
    ...(bias && { bias: grown(bias, front, ofBoth, 0) }),
    ...(memory && { memory: grownMemory(memory, front) }),
  });
}

/** Real rows of each sequence, with as many more. */
export const grownLengths = (lengths: Value, count: number): Value => (count ? ops.add(lengths, count) : lengths);
/** Which keys [batch, seq] may be seen, with as many more in front. */
export const grownKeys = (keep: Value, count: number): Value => inFront(keep, 1, count, 1);

function grownMemory(memory: Memory, front: Front): Memory {
  const { mask, bias } = memory;
  return { ...memory, mask: grownMask(mask, front, ofQueries), ...(bias && { bias: grown(bias, front, ofQueries, 0) }) };
}

function grownMask(mask: Mask<Value>, { count, before }: Front, axes: Axes): Mask<Value> {
  const grownOne = withPrefixTokens(mask, { count, before, ownKeys: axes === ofBoth });
  if (grownOne) return grownOne;
  throw new ConfigError({
    path: 'position',
    problem: 'rows in front cannot be told apart under the mask',
    expected: 'masks of the kinds causal, window, lengths, keyPadding, dense',
    got: printMask(mask),
  });
}

/** `value` in front along the axes that count the rows before. */
function grown(x: Value, { count, before }: Front, axes: Axes, value: number): Value {
  return axes.reduce((t, fromEnd) => {
    const axis = t.rank - fromEnd;
    if (t.dims[axis] !== before) return t;
    return inFront(t, axis, count, value);
  }, x);
}

function grownPositions(positions: Value, { count }: Front): Value {
  const batch = positions.dims[0]!;
  const first = ops.expand(ops.reshape(ops.iota(positions, count), [1, count]), [batch, count]);
  return ops.concat([first, ops.add(positions, count)], 1);
}
