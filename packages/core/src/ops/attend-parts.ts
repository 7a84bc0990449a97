// The parts of an Attend: its attributes, its operands by name, and the checks that they fit together.
import { type Dim, tryDivDims } from '../dim/dim';
import { printType, type TensorType } from '../ir/define-op';
import { mismatch } from '../ir/graph';
import { checkMask, expectType, oneOr } from '../mask/check';
import { type Mask, mapMask } from '../mask/mask';
import { isFloat } from '../tensor/tensor';

/** Attributes of Attend. */
export type AttendAttrs = {
  /** Its data are operand indices. */
  readonly mask: Mask<number>;
  /** Default 1 / √head_dim. */
  readonly scale?: number | undefined;
  readonly softcap?: number | undefined;
  /** Probability of dropping a weight; without the operand `noise` no weight is dropped. */
  readonly dropout?: number | undefined;
  /** The names of the operands after q, k and v. */
  readonly slots: { readonly [name in AttendSlot]?: number };
  /** True: the weights are a second result, [batch, heads, seq, kv_seq], after softmax and before dropout. */
  readonly weights?: true | undefined;
  /** True for a part of an attention, and in a branch that runs only for few keys or scores: rules that divide attention are not applied to it. */
  readonly undivided?: true;
};
/** The optional operands besides those of the mask. */
export type AttendSlot = 'queryOffset' | 'bias' | 'sinks' | 'noise';

/** The operands of an Attend, by name. */
export interface AttendParts<V> extends Readonly<Partial<Record<AttendSlot, V>>> {
  readonly q: V;
  readonly k: V;
  readonly v: V;
  readonly mask: Mask<V>;
}

/** The operands of an Attend by name. */
export function attendParts<V>(
  operands: readonly (V | undefined)[],
  { mask, slots }: Pick<AttendAttrs, 'mask' | 'slots'>,
): AttendParts<V> {
  const at = (index: number): V => operands[index]!;
  const named = Object.entries(slots).flatMap(([name, index]) => (index === undefined ? [] : [[name, at(index)]]));
  return { q: at(0), k: at(1), v: at(2), mask: mapMask(mask, at), ...Object.fromEntries(named) };
}

/** The scale of q kᵀ. */
export function scaleOf(k: TensorType, scale: number | undefined): number {
  if (scale !== undefined) return scale;
  const headDim = k.dims[3]!;
  if (typeof headDim !== 'number')
    throw mismatch('the default scale 1/√head_dim needs a known head_dim; give `scale`', 'a number', headDim);
  return 1 / Math.sqrt(headDim);
}

/** @throws ShapeError when operands do not fit together */
export function checkParts(parts: AttendParts<TensorType>): void {
  const { q, k, v, mask, queryOffset, bias, sinks, noise } = parts;
  for (const [name, t] of Object.entries({ q, k, v })) {
    if (t.dims.length !== 4) throw mismatch(`${name} does not have 4 axes`, '[batch, heads, seq, head_dim]', printType(t));
    if (!isFloat(t.dtype) || t.dtype !== q.dtype)
      throw mismatch(`${name} and q differ in dtype`, 'one float dtype', printType(t));
  }
  const [batch, heads, seq, headDim] = q.dims as [Dim, Dim, Dim, Dim];
  const [, kvHeads, kvSeq] = k.dims as [Dim, Dim, Dim, Dim];
  if (k.dims[3] !== headDim) throw mismatch('q and k differ in head_dim', String(headDim), String(k.dims[3]));
  expectType('k', k, q.dtype, [batch, kvHeads, kvSeq, headDim]);
  expectType('v', v, q.dtype, [batch, kvHeads, kvSeq, v.dims[3]!]);
  if (tryDivDims(heads, kvHeads) === undefined)
    throw mismatch('the heads of q are not a multiple of the heads of k', `a divisor of ${heads}`, String(kvHeads));
  if (queryOffset) expectType('queryOffset', queryOffset, 'int64', [batch]);
  if (bias) {
    expectType('bias', bias, q.dtype, [oneOr(bias.dims[0], batch), oneOr(bias.dims[1], heads), seq, kvSeq]);
  }
  if (sinks) expectType('sinks', sinks, q.dtype, [heads]);
  if (noise) expectType('dropout noise', noise, 'float32', [batch, heads, seq, kvSeq]);
  checkMask(mask, { batch, heads, seq, kvSeq, queryOffset });
}
