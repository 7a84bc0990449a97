// Sines and cosines for providers that compute them accurately only near 0.

import type { Op } from '../ir/define-op';
import { madeBy, type Value } from '../ir/graph';
import { defineReasons } from '../lower/reason';
import { type Rule, rule } from '../lower/rule';
import { constantOf } from '../ops/accept';
import { cast } from '../ops/cast';
import { add, Mul, mul, Sub, sub } from '../ops/elementwise';
import { Cos, cos, floor, Sin, sin } from '../ops/unary';

// 2π in parts of 8 bits, whose products with up to 2¹⁶ are exact in float32, and the remainder.
const [first, second] = [6.28125, 253 / 2 ** 17];
const left = Math.fround(2 * Math.PI - first - second);

/** Why a sine or cosine needs it. */
export const rangeReasons = defineReasons({
  angles: () => 'shaders are precise only for angles between −π and π',
});

/** An angle reduced to −π … π (range reduction); the error is at most 2⁻²² for a float32 x of up to 2¹⁶ turns. */
function reduceRange(x: Value): Value {
  const turns = floor(add(mul(x, 1 / (2 * Math.PI)), 0.5));
  return [first, second, left].reduce((rest, part) => sub(rest, mul(turns, part)), x);
}

/** True for a result of {@link reduceRange}. */
export const isReduced = (x: Value | undefined): boolean =>
  constantOf(madeBy(madeBy(x, Sub)?.operands[1], Mul)?.operands[1]) === left;

const reduced = (name: string, op: Op, f: (x: Value) => Value): Rule => ({
  ...rule(`${name} → ${name} after range reduction`, op, ({ operands: [x], outputs }) =>
    isReduced(x) ? undefined : { covers: outputs, emit: (get) => [cast(f(reduceRange(cast(get(x!), 'float32'))), x!.dtype)] },
  ),
  remedy: rangeReasons.angles.is,
});

/** sin x → sin (x − 2π n), for kernels that require an angle between −π and π. */
export const sineAfterRangeReduction = reduced('Sin', Sin, sin);
/** The same of cos x. */
export const cosineAfterRangeReduction = reduced('Cos', Cos, cos);
