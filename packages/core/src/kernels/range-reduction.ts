// Sines and cosines for providers that compute them well near 0 only.

import type { Op } from '../ir/define-op';
import { madeBy, type Value } from '../ir/graph';
import { type Rule, rule } from '../lower/rule';
import { constantOf } from '../ops/accept';
import { cast } from '../ops/cast';
import { add, Mul, mul, Sub, sub } from '../ops/elementwise';
import { Cos, cos, floor, Sin, sin } from '../ops/unary';

// A turn in parts of 8 binary digits, so that a float32 holds their products with up to 2¹⁶ turns, and what is left of it.
const [first, second] = [6.28125, 253 / 2 ** 17];
const left = Math.fround(2 * Math.PI - first - second);

/** An angle minus its whole turns (range reduction): from −π to π, off by at most 2⁻²² where float32 holds an x of up to 2¹⁶ turns. */
function withinATurn(x: Value): Value {
  const turns = floor(add(mul(x, 1 / (2 * Math.PI)), 0.5));
  return [first, second, left].reduce((rest, part) => sub(rest, mul(turns, part)), x);
}

/** True for what {@link withinATurn} made. */
export const isWithinATurn = (x: Value | undefined): boolean =>
  constantOf(madeBy(madeBy(x, Sub)?.operands[1], Mul)?.operands[1]) === left;

const reduced = (name: string, op: Op, f: (x: Value) => Value): Rule => ({
  ...rule(`${name} → ${name} within a turn`, op, ({ operands: [x], outputs }) =>
    isWithinATurn(x) ? undefined : { covers: outputs, emit: (get) => [cast(f(withinATurn(cast(get(x!), 'float32'))), x!.dtype)] },
  ),
  remedy: true,
});

/** sin x → sin (x − 2π n), for kernels that require an angle between −π and π. */
export const sineWithinATurn = reduced('Sin', Sin, sin);
/** The same of cos x. */
export const cosineWithinATurn = reduced('Cos', Cos, cos);
