// Attention masks of the original.
import { checkArguments, type Dim, dense, type Mask, ShapeError, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import type { XFormersOptions } from './options';

/** The attention that a mask belongs to. */
export interface XFormersMaskOptions extends Pick<XFormersOptions, 'compat'> {
  readonly batch: number;
  readonly heads: number;
  readonly seq: Dim;
  readonly kvSeq: Dim;
}

/**
 * An attention mask of the original: bool (true: may be attended to) or additive (−∞: masked), one pattern for all sequences, one for each sequence, or one
 * for each head of each sequence. Larger masks are cropped if the numbers of queries and keys are equal.
 *
 * A mask for each sequence applies to all of its heads. The original tiles such masks over sequences and heads in turn, so that they are applied to
 * the wrong sequences: `compat: 'xformers'`.
 *
 * Shapes   [seq, kv_seq] or [count, seq, kv_seq], seq and kv_seq may be 1, count 1, batch, batch · heads or a divisor of that → [1 or batch, 1 or heads, seq, kv_seq]
 * Throws   ShapeError when the number of masks does not divide batch · heads
 * Example  const { mask } = fromXFormersMask(x, { batch: 2, heads: 4, seq: 13, kvSeq: 13 });
 */
export function fromXFormersMask(given: Value, o: XFormersMaskOptions): { readonly mask: Mask<Value>; readonly bias?: Value } {
  checkArguments('fromXFormersMask', { x: given, options: o });
  const laid = cropped(spread(given, o), o);
  const [some, heads, rows, columns] = laid.dims as [Dim, Dim, Dim, Dim];
  const whole = ops.expand(laid, [some, heads, rows === 1 ? o.seq : rows, columns === 1 ? o.kvSeq : columns]);
  return given.dtype === 'bool' ? { mask: dense(whole) } : ops.fromAdditive(whole);
}

function spread(given: Value, { batch, heads, compat }: XFormersMaskOptions): Value {
  const [rows, columns] = given.dims.slice(-2) as [Dim, Dim];
  const count = given.rank === 2 ? 1 : given.dims[0];
  if (count === 1) return ops.reshape(given, [1, 1, rows, columns]);
  const all = batch * heads;
  if (typeof count !== 'number' || all % count)
    throw new ShapeError({
      path: 'att_mask',
      problem: 'the number of masks does not divide batch · heads',
      expected: `1 mask, or a divisor of batch · heads = ${all}`,
      got: `${count} masks`,
    });
  if (count === all) return ops.reshape(given, [batch, heads, rows, columns]);
  const repeats = all / count;
  const [before, after] = compat
    ? [
        [1, count],
        [repeats, count],
      ]
    : [
        [count, 1],
        [count, repeats],
      ];
  const wide = ops.expand(ops.reshape(given, [...before!, rows, columns]), [...after!, rows, columns]);
  return ops.reshape(wide, [batch, heads, rows, columns]);
}

function cropped(mask: Value, { seq, kvSeq }: XFormersMaskOptions): Value {
  if (seq !== kvSeq || typeof seq !== 'number') return mask;
  const axes = [2, 3].filter((axis) => mask.dims[axis] !== 1);
  return axes.length ? ops.slice(mask, { axes, starts: axes.map(() => 0), ends: axes.map(() => seq) }) : mask;
}
