// Hidden states together with their sequence context. An embedding converts inputs to hidden states, whose context the layers receive.

import type { Dim } from '../dim/dim';
import { ConfigError, ShapeError } from '../error';
import { anObject, given, statesWithContext } from '../given';
import { printType } from '../ir/define-op';
import { Value } from '../ir/graph';
import { and } from '../mask/and';
import { featuresOf } from '../mask/features';
import { keyPadding } from '../mask/key-padding';
import { keyLengths } from '../mask/lengths';
import { conjuncts, type Mask, printMask } from '../mask/mask';
import { type Memory, type SequenceContext, withContext, without } from './context';

/** Hidden states [batch, seq, dim] (packed [tokens, dim]) and their context. */
export interface HiddenStates {
  readonly hiddenStates: Value;
  readonly ctx: SequenceContext;
}

/** How an embedding that changes the number of positions translates the padding of its input. */
export interface PositionsOptions {
  /** Real positions [batch] of the result for the lengths of the input: `floor((n + 1) / 2)` for a convolution of stride 2. */
  readonly lengths?: (lengths: Value) => Value;
  /** Key padding of the result, bool [batch, seq], from that of the input. */
  readonly keyPadding?: (keep: Value) => Value;
  /** [height, width] if the positions are the patches of an image, in row-major order. */
  readonly grid?: readonly [height: Dim, width: Dim];
}

/**
 * The result of an embedding that changes the number of positions: patches of an image, a strided convolution. Positions
 * are counted from 0. Lengths and padding of the input are translated by the options, or refused. Dense masks and attention
 * biases already refer to the new positions and do not change.
 *
 * Shapes   rows [batch, seq, dim]
 * Throws   ConfigError for lengths, padding or position ids of the input that are not translated, for a packed batch and for a state
 * Example  const { hiddenStates } = withPositions(ctx, x, { grid: [7, 5] });
 */
export function withPositions(ctx: SequenceContext, rows: Value, o: PositionsOptions = {}): HiddenStates {
  given('withPositions', { ctx, rows }, { ctx: anObject });
  const { ops, where } = rows.graph;
  const fault = (problem: string, expected: string, got: string): ConfigError =>
    new ConfigError({ path: where || 'embedding', problem, expected, got });
  if (rows.rank !== 3) throw fault('the embedding did not return sequences', '[batch, seq, dim]', printType(rows));
  if (ctx.layout.kind === 'packed' || ctx.state)
    throw fault(
      'an embedding that changes the number of positions requires whole sequences',
      'a padded batch without a state',
      ctx.state ? 'a state' : 'a packed batch',
    );
  if (ctx.positionIds)
    throw fault('position ids of the input do not apply to the new positions', 'counted positions', printType(ctx.positionIds));
  const translated = (mask: Mask<Value>): Mask<Value> => {
    const features = featuresOf(mask);
    if (features?.lengths && o.lengths) return keyLengths(o.lengths(features.lengths));
    if (features?.keyPadding && o.keyPadding) return keyPadding(o.keyPadding(features.keyPadding));
    if (!features || isPadding(mask))
      throw fault(
        'padding of the input does not apply to the new positions',
        'an embedding that translates it, or no padding',
        printMask(mask),
      );
    return mask;
  };
  const [batch, seq] = rows.dims as [Dim, Dim];
  const lengths = ctx.lengths && o.lengths?.(ctx.lengths);
  const counted = without(ctx, 'lengths', 'grid');
  return {
    hiddenStates: rows,
    ctx: withContext(counted, {
      mask: and(...conjuncts(ctx.mask).map(translated)),
      get positions() {
        return this.shared!.get(`positions of ${rows.id}`, () =>
          ops.expand(ops.reshape(ops.iota(rows, seq), [1, seq]), [batch, seq]),
        );
      },
      ...(lengths && { lengths }),
      ...(o.grid && { grid: o.grid }),
    }),
  };
}

/**
 * The result of an embedding or a position block with its context. A result without a context has that of the input, and as many positions.
 *
 * Throws   ShapeError if a result without a context has another number of positions
 */
export function hiddenStatesOf(given: Value | HiddenStates, read: Value, ctx: SequenceContext): HiddenStates {
  if (!(given instanceof Value)) return given;
  const axes = ctx.layout.kind === 'packed' ? 1 : 2;
  for (let axis = 0; axis < axes; axis++)
    if (given.dims[axis] !== read.dims[axis])
      throw new ShapeError({
        path: given.graph.where || 'embedding',
        problem: 'the number of positions changed without a context for the new ones',
        expected: `[${[...read.dims.slice(0, axes), 'dim'].join(', ')}]`,
        got: printType(given),
        hint: 'Return withPositions(ctx, hiddenStates), which defines the new positions and padding',
      });
  return { hiddenStates: given, ctx };
}

const contexts = new WeakMap<Value, SequenceContext>();

/** Keeps the context of the hidden states that a model returns, for a model that attends to them as a memory. */
export function keepContext(hiddenStates: HiddenStates): Value {
  given('keepContext', { hiddenStates }, { hiddenStates: statesWithContext });
  const { hiddenStates: rows, ctx } = hiddenStates;
  contexts.set(rows, ctx);
  return rows;
}

/** The context of hidden states that a model returned, if its backbone kept it. */
export const contextOfHiddenStates = (rows: Value): SequenceContext | undefined => contexts.get(rows);

/** Hidden states as a memory: it keeps their padding, but not masks between pairs. */
export function memoryFrom(hiddenStates: HiddenStates): Memory {
  given('memoryFrom', { hiddenStates }, { hiddenStates: statesWithContext });
  const {
    hiddenStates: rows,
    ctx: { mask, layout },
  } = hiddenStates;
  const padding = conjuncts(mask).filter(isPadding);
  return { hiddenStates: rows, mask: and(...padding), layout };
}

// A padding mask: it only hides keys, for all queries alike.
const isPadding = (mask: Mask<Value>): boolean => {
  const features = Object.keys(featuresOf(mask) ?? {});
  return features.length === 1 && (features[0] === 'lengths' || features[0] === 'keyPadding');
};
