// Softmax over an axis, and its logarithm.

import { defineOp, type Op } from '../ir/define-op';
import { apply, type Operand, type Value } from '../ir/graph';
import type { NDArray } from '../tensor/tensor';
import { accept, rankOf } from './accept';
import { cast } from './cast';
import { exp, mul, sub } from './elementwise';
import { logSumExp, reduceSum } from './reduce';
import { logSumExpOf } from './reduced';
import { axisOf, offsetsAcross, offsetsAlong } from './strides';

type SoftmaxAttrs = { readonly axis: number };

/* @__NO_SIDE_EFFECTS__ */
function overAxis(
  key: string,
  f: (x: number, logSum: number) => number,
  grad: (g: Value, y: Value, axis: number) => Value,
  define?: (x: Value, axis: number) => Value,
): Op<SoftmaxAttrs> {
  return defineOp<SoftmaxAttrs>({
    key,
    since: 13,
    attributes: { axis: 'int' },
    infer([x], { axis }) {
      axisOf(axis, accept(x, 'float').dims.length);
      return [x!];
    },
    ...(define && { decompose: ([x], { axis }) => [define(x!, axis)] }),
    evaluate: ([x], { axis }) => [alongAxis(x!, axis, f)],
    vjp: ({ outputs: [y], attrs: { axis } }, [g]) => [g && grad(g, y!, axis)],
  });
}

function alongAxis(x: NDArray, axis: number, f: (x: number, logSum: number) => number): NDArray {
  const axes = [axisOf(axis, x.dims.length)];
  const along = offsetsAlong(x.dims, axes);
  const data = new Float64Array(x.data.length);
  for (const base of offsetsAcross(x.dims, axes)) {
    const logSum = logSumExpOf(x.data, base, along);
    for (const offset of along) data[base + offset] = f(x.data[base + offset]!, logSum);
  }
  return { dtype: x.dtype, dims: x.dims, data };
}

const fromFront = (axis: number, x: Operand): number => (axis < 0 ? axis + rankOf(x) : axis);

/** ONNX Softmax. */
export const Softmax = overAxis(
  'Softmax',
  (x, logSum) => Math.exp(x - logSum),
  (g, y, axis) => mul(y, sub(g, reduceSum(mul(g, y), [axis]))),
);
/**
 * eˣ / Σ eˣ over one axis; NaN if every element is -∞.
 *
 * Shapes   x any → the same
 * Dtypes   floats
 * Throws   ShapeError when the axis does not exist
 * Lowers   everywhere: Softmax
 * Example  const weights = ops.softmax(x);
 */
export const softmax = (x: Operand, axis = -1): Value => apply(Softmax, [x], { axis: fromFront(axis, x) })[0]!;

/** ONNX LogSoftmax. */
export const LogSoftmax = overAxis(
  'LogSoftmax',
  (x, logSum) => x - logSum,
  (g, y, axis) => sub(g, mul(exp(y), reduceSum(g, [axis]))),
  // For providers that lack it; in float32, because 16-bit floats are too imprecise for the intermediate results.
  (x, axis) => {
    const wide = x.dtype === 'float64' ? x : cast(x, 'float32');
    return cast(sub(wide, logSumExp(wide, [axis])), x.dtype);
  },
);
/**
 * x - log Σ eˣ over one axis: the logarithm of softmax, without its underflow.
 *
 * Shapes   x any → the same
 * Dtypes   floats
 * Throws   ShapeError when the axis does not exist
 * Lowers   portable, cpu, wasm, cuda: LogSoftmax · webgpu: primitives
 */
export const logSoftmax = (x: Operand, axis = -1): Value => apply(LogSoftmax, [x], { axis: fromFront(axis, x) })[0]!;
