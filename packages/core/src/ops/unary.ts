// Elementwise functions of one operand.

import { defineOp, type Op } from '../ir/define-op';
import { apply, madeBy, type Operand, type Value, type Vocabulary } from '../ir/graph';
import { type Accepts, accept, fitting } from './accept';
import { erfOf } from './erf';

interface Unary {
  readonly accepts: Accepts;
  /** In float64. */
  readonly f: (x: number) => number;
  /** The gradient of x, given that of y. */
  readonly grad: ((g: Value, x: Value, y: Value, ops: Vocabulary) => Value) | 'zero';
  readonly simplify?: (x: Value) => Value | undefined;
  /** For providers that lack it. */
  readonly define?: (x: Value, ops: Vocabulary) => Value;
}

/* @__NO_SIDE_EFFECTS__ */
function unary(key: string, since: number, { accepts, f, grad, simplify, define }: Unary): Op {
  return defineOp({
    key,
    since,
    attributes: {},
    infer: ([x]) => [accept(x, accepts)],
    ...(simplify && { simplify: ([x]) => x && simplify(x) }),
    ...(define && { decompose: ([x], _, ops) => [define(x!, ops)] }),
    evaluate([x]) {
      const fit = fitting(x!.dtype);
      return [{ dtype: x!.dtype, dims: x!.dims, data: x!.data.map((v) => fit(f(v))) }];
    },
    vjp: ({ operands, outputs }, [g], ops) => (g && grad !== 'zero' ? [grad(g, operands[0]!, outputs[0]!, ops)] : []),
  });
}
const one = (op: Op, x: Operand): Value => apply(op, [x], {})[0]!;

/** ONNX Neg. */
export const Neg: Op = unary('Neg', 13, {
  accepts: 'number',
  f: (x) => -x,
  grad: (g) => neg(g),
  simplify: (x) => madeBy(x, Neg)?.operands[0],
});
/**
 * -x.
 *
 * Shapes   x any → the same
 * Dtypes   numbers
 * Throws   ShapeError when x has another dtype
 * Lowers   everywhere: Neg
 */
export const neg = (x: Operand): Value => one(Neg, x);

/** ONNX Abs. */
export const Abs = unary('Abs', 13, { accepts: 'number', f: Math.abs, grad: (g, x, _, { mul }) => mul(g, sign(x)) });
/**
 * |x|. Its gradient at 0 is 0.
 *
 * Shapes   x any → the same
 * Dtypes   numbers
 * Throws   ShapeError when x has another dtype
 * Lowers   everywhere: Abs
 */
export const abs = (x: Operand): Value => one(Abs, x);

/** ONNX Sign. */
export const Sign = unary('Sign', 13, {
  accepts: 'number',
  f: Math.sign,
  grad: 'zero',
  define: (x, { cast, greater, less, sub }) => sub(cast(greater(x, 0), x.dtype), cast(less(x, 0), x.dtype)),
});
/**
 * -1, 0 or 1 for negative x, 0 and positive x.
 *
 * Shapes   x any → the same
 * Dtypes   numbers
 * Throws   ShapeError when x has another dtype
 * Lowers   everywhere: Sign
 */
export const sign = (x: Operand): Value => one(Sign, x);

/** ONNX Exp. */
export const Exp = unary('Exp', 13, { accepts: 'float', f: Math.exp, grad: (g, _, y, { mul }) => mul(g, y) });
/**
 * eˣ.
 *
 * Shapes   x any → the same
 * Dtypes   floats
 * Throws   ShapeError when x has another dtype
 * Lowers   everywhere: Exp
 */
export const exp = (x: Operand): Value => one(Exp, x);

/** ONNX Log. */
export const Log = unary('Log', 13, { accepts: 'float', f: Math.log, grad: (g, x, _, { div }) => div(g, x) });
/**
 * The natural logarithm; NaN below 0.
 *
 * Shapes   x any → the same
 * Dtypes   floats
 * Throws   ShapeError when x has another dtype
 * Lowers   everywhere: Log
 */
export const log = (x: Operand): Value => one(Log, x);

/** ONNX Sqrt. */
export const Sqrt = unary('Sqrt', 13, { accepts: 'float', f: Math.sqrt, grad: (g, _, y, { div, mul }) => div(g, mul(y, 2)) });
/**
 * The square root; NaN below 0.
 *
 * Shapes   x any → the same
 * Dtypes   floats
 * Throws   ShapeError when x has another dtype
 * Lowers   everywhere: Sqrt
 */
export const sqrt = (x: Operand): Value => one(Sqrt, x);

/** ONNX Reciprocal. */
export const Reciprocal = unary('Reciprocal', 13, {
  accepts: 'float',
  f: (x) => 1 / x,
  grad: (g, _, y, { mul }) => neg(mul(g, mul(y, y))),
});
/**
 * 1 / x.
 *
 * Shapes   x any → the same
 * Dtypes   floats
 * Throws   ShapeError when x has another dtype
 * Lowers   everywhere: Reciprocal
 */
export const reciprocal = (x: Operand): Value => one(Reciprocal, x);

/** ONNX Sin. */
export const Sin = unary('Sin', 7, { accepts: 'float', f: Math.sin, grad: (g, x, _, { mul }) => mul(g, cos(x)) });
/**
 * The sine of x radians.
 *
 * Shapes   x any → the same
 * Dtypes   floats
 * Throws   ShapeError when x has another dtype
 * Lowers   everywhere: Sin
 */
export const sin = (x: Operand): Value => one(Sin, x);

/** ONNX Cos. */
export const Cos = unary('Cos', 7, { accepts: 'float', f: Math.cos, grad: (g, x, _, { mul }) => neg(mul(g, sin(x))) });
/**
 * The cosine of x radians.
 *
 * Shapes   x any → the same
 * Dtypes   floats
 * Throws   ShapeError when x has another dtype
 * Lowers   everywhere: Cos
 */
export const cos = (x: Operand): Value => one(Cos, x);

/** ONNX Tanh. */
export const Tanh = unary('Tanh', 13, {
  accepts: 'float',
  f: Math.tanh,
  grad: (g, _, y, { mul, sub }) => mul(g, sub(1, mul(y, y))),
});
/**
 * The hyperbolic tangent.
 *
 * Shapes   x any → the same
 * Dtypes   floats
 * Throws   ShapeError when x has another dtype
 * Lowers   everywhere: Tanh
 */
export const tanh = (x: Operand): Value => one(Tanh, x);

/** ONNX Erf. */
export const Erf = unary('Erf', 13, {
  accepts: 'float',
  f: erfOf,
  grad: (g, x, _, { mul }) => mul(g, mul(exp(neg(mul(x, x))), 2 / Math.sqrt(Math.PI))),
});
/**
 * The error function (2/√π) ∫₀ˣ exp(-t²) dt.
 *
 * Shapes   x any → the same
 * Dtypes   floats
 * Throws   ShapeError when x has another dtype
 * Lowers   everywhere: Erf
 */
export const erf = (x: Operand): Value => one(Erf, x);

/** ONNX Sigmoid. */
export const Sigmoid = unary('Sigmoid', 13, {
  accepts: 'float',
  f: (x) => (x < 0 ? Math.exp(x) / (1 + Math.exp(x)) : 1 / (1 + Math.exp(-x))),
  grad: (g, _, y, { mul, sub }) => mul(g, mul(y, sub(1, y))),
});
/**
 * 1 / (1 + e⁻ˣ).
 *
 * Shapes   x any → the same
 * Dtypes   floats
 * Throws   ShapeError when x has another dtype
 * Lowers   everywhere: Sigmoid
 */
export const sigmoid = (x: Operand): Value => one(Sigmoid, x);

/** ONNX Relu. */
export const Relu = unary('Relu', 14, {
  accepts: 'number',
  f: (x) => Math.max(x, 0),
  grad: (g, x, _, { greater, where }) => where(greater(x, 0), g, 0),
});
/**
 * max(x, 0). Its gradient at 0 is 0.
 *
 * Shapes   x any → the same
 * Dtypes   numbers
 * Throws   ShapeError when x has another dtype
 * Lowers   everywhere: Relu
 */
export const relu = (x: Operand): Value => one(Relu, x);

/** ONNX LeakyRelu. */
export const LeakyRelu = defineOp<{ alpha: number }>({
  key: 'LeakyRelu',
  since: 16,
  attributes: { alpha: 'float' },
  infer: ([x]) => [accept(x, 'float')],
  evaluate: ([x], { alpha }) => [{ dtype: x!.dtype, dims: x!.dims, data: x!.data.map((v) => (v < 0 ? alpha * v : v)) }],
  vjp: ({ operands: [x], attrs: { alpha } }, [g], { greater, mul, where }) => [g && where(greater(x, 0), g, mul(g, alpha))],
});
/**
 * x, or alpha · x where x is negative.
 *
 * Shapes   x any → the same
 * Dtypes   floats
 * Throws   ShapeError when x has another dtype
 * Lowers   everywhere: LeakyRelu
 */
export const leakyRelu = (x: Operand, alpha = 0.01): Value => apply(LeakyRelu, [x], { alpha })[0]!;

/** ONNX Softplus. */
export const Softplus = unary('Softplus', 1, {
  accepts: 'float',
  f: (x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x))),
  grad: (g, x, _, { mul }) => mul(g, sigmoid(x)),
});
/**
 * log(1 + eˣ).
 *
 * Shapes   x any → the same
 * Dtypes   floats
 * Throws   ShapeError when x has another dtype
 * Lowers   everywhere: Softplus
 */
export const softplus = (x: Operand): Value => one(Softplus, x);

/** ONNX Floor. */
export const Floor = unary('Floor', 13, { accepts: 'float', f: Math.floor, grad: 'zero' });
/**
 * The greatest integer not above x. Its gradient is 0.
 *
 * Shapes   x any → the same
 * Dtypes   floats
 * Throws   ShapeError when x has another dtype
 * Lowers   everywhere: Floor
 */
export const floor = (x: Operand): Value => one(Floor, x);

/** ONNX Ceil. */
export const Ceil = unary('Ceil', 13, { accepts: 'float', f: Math.ceil, grad: 'zero' });
/**
 * The least integer not below x. Its gradient is 0.
 *
 * Shapes   x any → the same
 * Dtypes   floats
 * Throws   ShapeError when x has another dtype
 * Lowers   everywhere: Ceil
 */
export const ceil = (x: Operand): Value => one(Ceil, x);

/** ONNX Round. */
export const Round = unary('Round', 11, { accepts: 'float', f: roundHalfToEven, grad: 'zero', define: roundedByFloor });
/**
 * The nearest integer; ties are rounded to even. Its gradient is 0.
 *
 * Shapes   x any → the same
 * Dtypes   floats
 * Throws   ShapeError when x has another dtype
 * Lowers   portable, cpu, wasm, cuda: Round · webgpu: primitives
 */
export const round = (x: Operand): Value => one(Round, x);

// Rounded up above the middle, and at the middle if the number below is odd.
function roundedByFloor(x: Value, { add, cast, equal, greater, logicalAnd, logicalOr, mul, sub }: Vocabulary): Value {
  const low = floor(x);
  const above = sub(x, low);
  const odd = greater(sub(low, mul(floor(mul(low, 0.5)), 2)), 0);
  return add(low, cast(logicalOr(greater(above, 0.5), logicalAnd(equal(above, 0.5), odd)), x.dtype));
}

function roundHalfToEven(x: number): number {
  const low = Math.floor(x);
  if (x - low !== 0.5) return Math.round(x);
  return low % 2 === 0 ? low : low + 1;
}

/* @__NO_SIDE_EFFECTS__ */
function test(key: string, since: number, f: (x: number) => boolean): Op {
  return defineOp({
    key,
    since,
    attributes: {},
    infer: ([x]) => [{ dtype: 'bool', dims: accept(x, 'float').dims }],
    evaluate: ([x]) => [{ dtype: 'bool', dims: x!.dims, data: x!.data.map((v) => (f(v) ? 1 : 0)) }],
    vjp: 'nonDifferentiable',
  });
}

/** ONNX IsNaN. */
export const IsNaN = test('IsNaN', 13, Number.isNaN);
/**
 * Where x is NaN.
 *
 * Shapes   x any → the same
 * Dtypes   floats → bool
 * Throws   ShapeError when x is not a float
 * Lowers   everywhere: IsNaN
 */
// biome-ignore lint/suspicious/noShadowRestrictedNames: the op's own name
export const isNaN = (x: Operand): Value => one(IsNaN, x);

/** ONNX IsInf. */
export const IsInf = test('IsInf', 10, (x) => Math.abs(x) === Number.POSITIVE_INFINITY);
/**
 * Where x is ∞ or −∞.
 *
 * Shapes   x any → the same
 * Dtypes   floats → bool
 * Throws   ShapeError when x is not a float
 * Lowers   everywhere: IsInf
 */
export const isInf = (x: Operand): Value => one(IsInf, x);
