// What a recurrent mixer keeps from call to call, and the positions that change it.
import {
  ConfigError,
  type Dim,
  init,
  type Mask,
  module,
  Parameter,
  realPositionsOf,
  type SequenceContext,
  type TensorType,
  type Value,
} from '@onnxformers/core';
import { expressedBy, maskKinds } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';
import { causalConvolution } from './causal-convolution';
import { type LinearRecurrenceOptions, linearRecurrence } from './linear-recurrence';

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
function between<T>(
  { state }: SequenceContext,
  name: string,
  type: TensorType,
  step: (past: Value | undefined) => readonly [next: Value, result: T],
): T {
  return state ? state.updateRecurrent(name, type, step) : step(undefined)[1];
}

/** Values [batch, seq, …] of real positions, and 0 at the others. */
export function ofReal(real: Value | undefined, x: Value): Value {
  if (!real) return x;
  const axes = x.dims.slice(2).map((_, i) => i + 2);
  return ops.where(ops.unsqueeze(real, axes), x, 0);
}

/** In float32, in which states are kept. */
export const wide = (x: Value): Value => ops.cast(x, 'float32');

/** Parameters with a name before theirs, that other code reads. */
export const named = (parameters: Readonly<Record<string, Parameter | undefined>>) => module(parameters, (x: Value) => x);

/** A recurrence in float32 that continues from the state that earlier calls left. */
export function recurrence(ctx: SequenceContext, operands: Omit<LinearRecurrenceOptions, 'past'>): Value {
  const { q, v } = operands;
  const [batch, , heads, width] = v.dims as readonly [Dim, Dim, Dim, Dim];
  return between(ctx, 'recurrent', { dtype: 'float32', dims: [batch, heads, q.dims[3]!, width] }, (past) => {
    const [y, state] = linearRecurrence({ ...operands, past });
    return [state, y];
  });
}

/**
 * A causal convolution of each channel with silu, x [batch, seq, channels], that continues from the last real positions of earlier calls. Padding is
 * before or after the real positions of a call; between them it counts as positions that are 0.
 * `parameters` has the names and the layout of PyTorch's Conv1d.
 */
export function rememberingConvolution(channels: number, width: number, { bias: biased }: { readonly bias: boolean }) {
  const part = (dims: readonly number[], name: 'weight' | 'bias') =>
    new Parameter(dims, init.fanIn(width), { role: 'convolution', part: name });
  const weight = part([channels, 1, width], 'weight');
  const bias = biased ? part([channels], 'bias') : undefined;
  return {
    parameters: named({ weight, bias }),
    apply: (x: Value, ctx: SequenceContext, real: Value | undefined): Value =>
      convolved(x, ctx, real, x.graph.root.param(weight), bias && x.graph.root.param(bias)),
  };
}

function convolved(x: Value, ctx: SequenceContext, real: Value | undefined, weight: Value, bias: Value | undefined): Value {
  const [batch, seq, channels] = x.dims as readonly [Dim, Dim, Dim];
  const before = (weight.dims[2] as number) - 1;
  const columns = ops.transpose(ofReal(real, x), [0, 2, 1]);
  const y = between(ctx, 'conv', { dtype: x.dtype, dims: [batch, channels, before] }, (past) => {
    const convolve = (x: Value, past: Value | undefined) => causalConvolution(x, weight, { bias, activation: 'silu', past });
    if (!real || !past) {
      const [result, last] = convolve(columns, past);
      return [last, result];
    }
    const all = ops.concat([past, columns], 2);
    const joined = maskKinds(ctx.mask).includes('keyPadding') ? besideReal(all, real, before) : all;
    const part = (from: Dim, to: Dim): Value => ops.slice(joined, { axes: [2], starts: [from], ends: [to] });
    const [result] = joined === all ? convolve(columns, past) : convolve(part(before, all.dims[2]!), part(0, before));
    return [lastReal(joined, real, before), result];
  });
  return ops.reshape(ops.transpose(y, [0, 2, 1]), [batch, seq, channels]);
}

// Padding on the left of a later call would stand between the positions of earlier calls and the real ones: it changes places with them.
function besideReal(all: Value, real: Value, before: number): Value {
  const [batch, channels, count] = all.dims as readonly [Dim, Dim, Dim];
  const seen = ops.cumSum(ops.cast(real, 'int64'), 1);
  const padding = ops.reduceSum(ops.cast(ops.logicalAnd(ops.equal(seen, 0), anyReal(seen)), 'int64'), [1]);
  const place = ops.reshape(ops.iota(all, count), [1, count]);
  const moved = ops.max(ops.sub(place, padding), 0);
  const index = ops.where(ops.less(place, ops.add(padding, before)), moved, place);
  return ops.gatherElements(all, ops.expand(ops.unsqueeze(index, [1]), [batch, channels, count]), 2);
}
/** False for a sequence without a real position in this call. */
const anyReal = (seen: Value): Value => ops.greater(ops.reduceMax(seen, [1]), 0);

// The positions before the first that follows the last real one; `all` has `before` positions of earlier calls in front.
function lastReal(all: Value, real: Value, before: number): Value {
  const [batch, channels] = all.dims as readonly [Dim, Dim];
  const seq = real.dims[1]!;
  const places = ops.reshape(ops.add(ops.iota(all, seq), 1), [1, seq]);
  const counts = ops.reduceMax(ops.concat([ops.fill(all, [batch, 1], 0, 'int64'), ops.where(real, places, 0)], 1), [1]);
  const index = ops.add(ops.unsqueeze(counts, [1]), ops.reshape(ops.iota(all, before), [1, 1, before]));
  return ops.gatherElements(all, ops.expand(index, [batch, channels, before]), 2);
}
