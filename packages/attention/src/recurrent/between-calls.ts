// What a recurrent mixer keeps from call to call, and the positions that change it.
import {
  ConfigError,
  type Dim,
  type Mask,
  realPositionsOf,
  type SequenceContext,
  type TensorType,
  type Value,
} from '@onnxformers/core';
import { expressedBy } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';
import { causalConvolution } from './causal-convolution';

/** The masks of a mechanism that reads positions in order and can skip padding. */
export const inOrder = ['causal', 'lengths', 'keyPadding'] as const;

/**
 * The positions of x [batch, seq, dim] that are not padding, bool [batch, seq]; undefined if all are real. Padding changes no state.
 *
 * Throws   ConfigError for an attention bias, for other masks, and for lengths of all positions so far
 */
export function realRows(
  x: Value,
  ctx: SequenceContext,
  path: string,
): { readonly causal: boolean; readonly real: Value | undefined } {
  const reading = expressedBy(ctx.mask as Mask<Value>, { causal: true, lengths: true, keyPadding: true });
  const refused = (got: string): ConfigError =>
    new ConfigError({
      path,
      problem: 'positions are added to a state, and no pairs of positions are compared',
      expected: 'no attention bias, and a mask of causal, lengths and key padding; with a state lengths of this call',
      got,
    });
  if (reading.inexpressible !== undefined) throw refused(reading.inexpressible.mask);
  if (ctx.bias) throw refused('an attention bias');
  if (ctx.state && reading.lengths) throw refused('lengths of the positions of all calls');
  const lengths = ctx.lengths ?? reading.lengths;
  return {
    causal: reading.causal,
    real: realPositionsOf(x, { mask: ctx.mask, ...(lengths && { lengths }), ...(ctx.state && { state: ctx.state }) }),
  };
}

/** A result that depends on what earlier calls left. `step` receives undefined if there is no state between calls. */
export function between<T>(
  { state }: SequenceContext,
  name: string,
  type: TensorType,
  step: (past: Value | undefined) => readonly [next: Value, result: T],
): T {
  return state ? state.updateRecurrent(name, type, step) : step(undefined)[1];
}

/** Options of {@link convolved}. */
export interface ConvolvedOptions {
  readonly weight: Value;
  readonly bias?: Value | undefined;
  readonly activation?: 'none' | 'silu';
  readonly real: Value | undefined;
}

/** A causal convolution of each channel, x [batch, seq, channels], that continues from the last real positions of earlier calls. */
export function convolved(x: Value, ctx: SequenceContext, { weight, real, ...options }: ConvolvedOptions): Value {
  const [batch, seq, channels] = x.dims as readonly [Dim, Dim, Dim];
  const before = (weight.dims[2] as number) - 1;
  const rows = real ? ops.where(ops.unsqueeze(real, [2]), x, 0) : x;
  const columns = ops.transpose(rows, [0, 2, 1]);
  const y = between(ctx, 'conv', { dtype: x.dtype, dims: [batch, channels, before] }, (past) => {
    const [result, last] = causalConvolution(columns, weight, { ...options, past });
    return [real && past ? lastReal(ops.concat([past, columns], 2), real, before) : last, result];
  });
  return ops.reshape(ops.transpose(y, [0, 2, 1]), [batch, seq, channels]);
}

// The positions before the first that follows the last real one; `all` has `before` positions of earlier calls in front.
function lastReal(all: Value, real: Value, before: number): Value {
  const [batch, channels] = all.dims as readonly [Dim, Dim];
  const seq = real.dims[1]!;
  const places = ops.reshape(ops.add(ops.iota(all, seq), 1), [1, seq]);
  const counts = ops.reduceMax(ops.concat([ops.fill(all, [batch, 1], 0, 'int64'), ops.where(real, places, 0)], 1), [1]);
  const index = ops.add(ops.unsqueeze(counts, [1]), ops.reshape(ops.iota(all, before), [1, 1, before]));
  return ops.gatherElements(all, ops.expand(index, [batch, channels, before]), 2);
}
