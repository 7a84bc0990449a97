// Cumulative sums and triangular matrices.

import { defineOp, noFlops } from '../ir/define-op';
import { apply, mismatch, type Operand, type Value } from '../ir/graph';
import { tensor } from '../tensor/convert';
import { accept, fitting, rankOf } from './accept';
import { encoded } from './encode';
import { axisOf, offsetsAcross, offsetsAlong } from './strides';

type CumSumAttrs = { readonly axis: number; readonly exclusive: number; readonly reverse: number };

/** ONNX CumSum. */
export const CumSum = defineOp<CumSumAttrs>({
  key: 'CumSum',
  since: 14,
  attributes: { axis: 'int', exclusive: 'int', reverse: 'int' },
  infer([x], { axis }) {
    axisOf(axis, accept(x, 'number').dims.length);
    return [x!];
  },
  evaluate([x], { axis, exclusive, reverse }) {
    const along = offsetsAlong(x!.dims, [axis]);
    if (reverse) along.reverse();
    const fit = fitting(x!.dtype);
    const data = new Float64Array(x!.data.length);
    for (const base of offsetsAcross(x!.dims, [axis])) {
      let total = 0;
      for (const offset of along) {
        const next = fit(total + x!.data[base + offset]!);
        data[base + offset] = exclusive ? total : next;
        total = next;
      }
    }
    return [{ ...x!, data }];
  },
  vjp: ({ attrs: { axis, exclusive, reverse } }, [g]) => [
    g && cumSum(g, axis, { exclusive: exclusive === 1, reverse: reverse === 0 }),
  ],
  encode: (node) => encoded(node, [node.operands[0], tensor('int64', [], [node.attrs.axis])], ['axis']),
});

/** `exclusive`: without the element itself. `reverse`: from the end. */
export type CumSumOptions = { readonly exclusive?: boolean; readonly reverse?: boolean };
/**
 * The cumulative sum along an axis.
 *
 * Shapes   x any → the same
 * Dtypes   numbers
 * Throws   ShapeError when the axis does not exist
 * Lowers   everywhere: CumSum
 */
export function cumSum(x: Operand, axis: number, o: CumSumOptions = {}): Value {
  const { exclusive, reverse } = o ?? {};
  const fromFront = axis < 0 ? axis + rankOf(x) : axis;
  return apply(CumSum, [x], { axis: fromFront, exclusive: exclusive ? 1 : 0, reverse: reverse ? 1 : 0 })[0]!;
}

type TriluAttrs = { readonly upper: number; readonly k: number };

/** ONNX Trilu. */
export const Trilu = defineOp<TriluAttrs>({
  key: 'Trilu',
  flops: noFlops,
  since: 14,
  attributes: { upper: 'int', k: 'int' },
  infer([x], { k }) {
    const { dims } = accept(x, 'any');
    if (dims.length < 2) throw mismatch('a triangle requires a matrix', 'at least 2 axes', String(dims.length));
    if (!Number.isInteger(k)) throw mismatch('the diagonal is not an integer', 'an integer', String(k));
    return [x!];
  },
  evaluate([x], { upper, k }) {
    const [rows, columns] = x!.dims.slice(-2) as [number, number];
    const kept = (i: number) => {
      const [row, column] = [Math.floor(i / columns) % rows, i % columns];
      return upper ? column - row >= k : column - row <= k;
    };
    return [{ ...x!, data: x!.data.map((v, i) => (kept(i) ? v : 0)) }];
  },
  vjp: ({ attrs: { upper, k } }, [g]) => [g && trilu(g, upper === 1, k)],
  encode: (node) => encoded(node, [node.operands[0], tensor('int64', [], [node.attrs.k])], ['k']),
});

/**
 * The upper or lower triangle of matrices, 0 elsewhere. Diagonal k is k columns to the right of the main one.
 *
 * Shapes   x [..., rows, columns], kept
 * Dtypes   any
 * Throws   ShapeError when x has fewer than two axes
 * Lowers   everywhere: Trilu
 */
export const trilu = (x: Operand, upper: boolean, k = 0): Value => apply(Trilu, [x], { upper: upper ? 1 : 0, k })[0]!;
/**
 * The part of matrices on diagonal k and right of it, 0 elsewhere. See {@link trilu}.
 *
 * Shapes   x [..., rows, columns], kept
 * Dtypes   any
 * Throws   ShapeError when x has fewer than two axes
 * Lowers   everywhere: Trilu
 */
export const triu = (x: Operand, k = 0): Value => trilu(x, true, k);
/**
 * The part of matrices on diagonal k and left of it, 0 elsewhere. See {@link trilu}.
 *
 * Shapes   x [..., rows, columns], kept
 * Dtypes   any
 * Throws   ShapeError when x has fewer than two axes
 * Lowers   everywhere: Trilu
 */
export const tril = (x: Operand, k = 0): Value => trilu(x, false, k);
