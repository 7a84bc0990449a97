// Classes of masks that the library does not know: code must refuse them or be correct through their definition.
import type { Mask, Value } from '@onnxformers/core';
import { defineMask } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';

const prefixMask = defineMask<never, { readonly length: number }>({
  name: 'ownPrefix',
  comparesPositions: true,
  allows: ({ options: { length } }, { from, to }) => to.position < length || to.position <= from.position,
  tensor: ({ options: { length } }, at) =>
    ops.logicalOr(ops.less(at.keyPositions(), length), ops.lessOrEqual(at.keyPositions(), at.queryPositions())),
});
/** The first `length` keys of a sequence, and those up to the query's position. */
export const ownPrefix = (length: number): Mask<never> => prefixMask({ options: { length } });

const dilatedMask = defineMask<never, { readonly step: number }>({
  name: 'ownDilated',
  comparesPositions: true,
  allows: ({ options: { step } }, { from, to }) => (from.position - to.position) % step === 0,
  tensor({ options: { step } }, at) {
    const apart: Value = ops.sub(at.queryPositions(), at.keyPositions());
    return ops.equal(ops.mul(ops.div(apart, step), step), apart);
  },
});
/** Keys at a distance that is a multiple of `step`. */
export const ownDilated = (step: number): Mask<never> => dilatedMask({ options: { step } });

/** The same in plain loops, for queries at the end of the keys, of which there are `surplus` more. */
export const ownPrefixAllows =
  (length: number, surplus = 0) =>
  (i: number, j: number): boolean =>
    j < length || j <= i + surplus;
export const ownDilatedAllows =
  (step: number, surplus = 0) =>
  (i: number, j: number): boolean =>
    Math.abs(i + surplus - j) % step === 0;
