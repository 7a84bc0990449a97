// Elementwise arithmetic: two or more operands, which broadcast.

import { type Attrs, defineOp, type Op, type TensorType } from '../ir/define-op';
import { apply, mismatch, type Operand, type Value } from '../ir/graph';
import type { DType, NDArray } from '../tensor/tensor';
import { isFloat } from '../tensor/tensor';
import { accept, acceptAlike, constantOf } from './accept';
import { broadcastDims, keepsDims, mapBroadcast, unbroadcast } from './broadcast';
import { neg } from './unary';

export * from './unary';

type Operands = readonly (Value | undefined)[];

interface Binary {
  readonly f: (dtype: DType) => (a: number, b: number) => number;
  /** Gradients of both operands before they are summed to the operands' dims. */
  readonly grad: (g: Value, a: Value, b: Value, y: Value) => readonly (Value | undefined)[];
  readonly simplify?: (a: Value, b: Value) => Value | undefined;
}

/* @__NO_SIDE_EFFECTS__ */
function binary(key: string, since: number, { f, grad, simplify }: Binary): Op {
  return defineOp({
    key,
    since,
    attributes: {},
    infer(operands) {
      const [a, b] = acceptAlike(operands.slice(0, 2), 'number');
      if (!a || !b) throw mismatch('an operand is missing', 'two operands', String(operands.length));
      return [{ dtype: a.dtype, dims: broadcastDims(a.dims, b.dims) }];
    },
    ...(simplify && { simplify: ([a, b]: Operands) => (a && b && a.dtype === b.dtype ? simplify(a, b) : undefined) }),
    evaluate: ([a, b]) => [mapBroadcast([a!, b!], a!.dtype, f(a!.dtype))],
    vjp({ operands: [a, b], outputs: [y] }, [g], ops) {
      if (!g) return [];
      const [da, db] = grad(g, a!, b!, y!);
      return [da && unbroadcast(da, a!.dims, ops), db && unbroadcast(db, b!.dims, ops)];
    },
  });
}
const two = (op: Op, a: Operand, b: Operand): Value => apply(op, [a, b], {})[0]!;

// x if all elements of the other operand are this number, and it does not broadcast x.
const unlessChanged = (x: Value, other: Value, neutral: number): Value | undefined =>
  constantOf(other) === neutral && fits(x, other) ? x : undefined;
const fits = (x: Value, other: Value): boolean => {
  const extra = x.dims.length - other.dims.length;
  return extra >= 0 && other.dims.every((d, i) => d === 1 || d === x.dims[i + extra]) && keepsDims(x.dims, other.dims);
};

/** ONNX Add. */
export const Add = binary('Add', 14, {
  f: () => (a, b) => a + b,
  grad: (g) => [g, g],
  simplify: (a, b) => unlessChanged(a, b, 0) ?? unlessChanged(b, a, 0),
});
/**
 * a + b, broadcast.
 *
 * Shapes   a, b any → their dims broadcast together
 * Dtypes   numbers, both the same
 * Throws   ShapeError when the dims do not broadcast or the dtypes differ
 * Lowers   everywhere: Add
 * Example  const y = ops.add(x, 1);
 */
export const add = (a: Operand, b: Operand): Value => two(Add, a, b);

/** ONNX Sub. */
export const Sub = binary('Sub', 14, {
  f: () => (a, b) => a - b,
  grad: (g) => [g, neg(g)],
  simplify: (a, b) => unlessChanged(a, b, 0),
});
/**
 * a - b, broadcast.
 *
 * Shapes   a, b any → their dims broadcast together
 * Dtypes   numbers, both the same
 * Throws   ShapeError when the dims do not broadcast or the dtypes differ
 * Lowers   everywhere: Sub
 */
export const sub = (a: Operand, b: Operand): Value => two(Sub, a, b);

/** ONNX Mul. */
export const Mul = binary('Mul', 14, {
  // Products of 32-bit integers exceed 2^53; after wrapping around they do not.
  f: (dtype) => (dtype === 'uint32' || dtype === 'int32' ? Math.imul : (a, b) => a * b),
  grad: (g, a, b) => [mul(g, b), mul(g, a)],
  simplify: (a, b) => unlessChanged(a, b, 1) ?? unlessChanged(b, a, 1),
});
/**
 * a · b, broadcast.
 *
 * Shapes   a, b any → their dims broadcast together
 * Dtypes   numbers, both the same
 * Throws   ShapeError when the dims do not broadcast or the dtypes differ
 * Lowers   everywhere: Mul
 */
export const mul = (a: Operand, b: Operand): Value => two(Mul, a, b);

/** ONNX Div. */
export const Div = binary('Div', 14, {
  f: (dtype) => (isFloat(dtype) ? (a, b) => a / b : (a, b) => Math.trunc(a / nonzero(b))),
  grad: (g, _, b, y) => [div(g, b), neg(mul(g, div(y, b)))],
  simplify: (a, b) => unlessChanged(a, b, 1),
});
/**
 * a / b, broadcast; for integers truncated towards 0.
 *
 * Shapes   a, b any → their dims broadcast together
 * Dtypes   numbers, both the same
 * Throws   ShapeError when the dims do not broadcast or the dtypes differ
 * Lowers   everywhere: Div
 */
export const div = (a: Operand, b: Operand): Value => two(Div, a, b);

function nonzero(b: number): number {
  if (b !== 0) return b;
  throw mismatch('an integer is divided by 0');
}

/** ONNX Pow. */
export const Pow = defineOp({
  key: 'Pow',
  since: 15,
  attributes: {},
  infer([a, b]) {
    const dims = [accept(a, 'number', 'the base').dims, accept(b, 'number', 'the exponent').dims] as const;
    return [{ dtype: a!.dtype, dims: broadcastDims(...dims) }];
  },
  simplify: ([a, b]) => (a && b ? unlessChanged(a, b, 1) : undefined),
  evaluate: ([a, b]) => [mapBroadcast([a!, b!], a!.dtype, (x, y) => x ** y)],
  vjp({ operands: [a, b], outputs: [y] }, [g], ops) {
    if (!g || !a || !b) return [];
    const exponent = constantOf(b);
    const slope = exponent === undefined ? mul(ops.cast(b, a.dtype), pow(a, sub(b, 1))) : mul(pow(a, sub(b, 1)), exponent);
    // If the exponent is 0, the result is 1 for every base, also for 0.
    const da = exponent ? slope : ops.where(ops.equal(b, 0), 0, slope);
    const grads = [unbroadcast(mul(g, da), a.dims, ops)];
    if (b.leaf?.kind === 'constant' || b.dtype !== a.dtype) return grads;
    const logarithm = ops.where(ops.logicalAnd(ops.equal(a, 0), ops.greater(b, 0)), 0, ops.log(a));
    return [...grads, unbroadcast(mul(g, mul(y!, logarithm)), b.dims, ops)];
  },
});
/**
 * aᵇ, broadcast, of a's dtype.
 *
 * Shapes   a, b any → their dims broadcast together
 * Dtypes   numbers
 * Throws   ShapeError when the dims do not broadcast
 * Lowers   everywhere: Pow
 */
export const pow = (a: Operand, b: Operand): Value => two(Pow, a, b);

/** ONNX Mod. */
export const Mod = defineOp<{ fmod: number }>({
  key: 'Mod',
  since: 13,
  attributes: { fmod: 'int' },
  infer(operands, { fmod }) {
    const [a, b] = acceptAlike([operands[0], operands[1]], fmod ? 'number' : 'integer') as [TensorType, TensorType];
    return [{ dtype: a.dtype, dims: broadcastDims(a.dims, b.dims) }];
  },
  evaluate([a, b], { fmod }) {
    const divisor = isFloat(a!.dtype) ? (y: number) => y : nonzero;
    const f = (x: number, y: number) => (fmod ? x % divisor(y) : x - Math.floor(x / divisor(y)) * y);
    return [mapBroadcast([a!, b!], a!.dtype, f)];
  },
  vjp({ operands: [a, b] }, [g], ops) {
    if (!g || !a || !b || !isFloat(a.dtype)) return [];
    const quotient = div(a, b);
    const whole = mul(ops.sign(quotient), ops.floor(ops.abs(quotient)));
    return [unbroadcast(g, a.dims, ops), unbroadcast(ops.neg(mul(g, whole)), b.dims, ops)];
  },
});
/**
 * The remainder of a / b that has the sign of b.
 *
 * Shapes   a, b any → their dims broadcast together
 * Dtypes   integers, both the same
 * Throws   ShapeError when the dims do not broadcast or the dtypes differ
 * Lowers   everywhere: Mod
 */
export const mod = (a: Operand, b: Operand): Value => apply(Mod, [a, b], { fmod: 0 })[0]!;
/**
 * The remainder of a / b that has the sign of a, as in C.
 *
 * Shapes   a, b any → their dims broadcast together
 * Dtypes   numbers, both the same
 * Throws   ShapeError when the dims do not broadcast or the dtypes differ
 * Lowers   everywhere: Mod
 */
export const fmod = (a: Operand, b: Operand): Value => apply(Mod, [a, b], { fmod: 1 })[0]!;

/* @__NO_SIDE_EFFECTS__ */
function extreme(key: string, pick: (...x: number[]) => number): Op {
  return defineOp({
    key,
    since: 13,
    attributes: {},
    infer(operands) {
      const all = acceptAlike(operands, 'number');
      if (!all[0]) throw mismatch('an operand is missing', 'at least one', 'none');
      return [{ dtype: all[0].dtype, dims: broadcastDims(...all.map((t) => t.dims)) }];
    },
    simplify: (operands) => (operands.length === 1 ? operands[0] : undefined),
    evaluate: (operands) => [mapBroadcast(operands as NDArray[], operands[0]!.dtype, pick)],
    // Equal operands share the gradient.
    vjp({ operands, outputs: [y] }, [g], ops) {
      if (!g) return [];
      const chosen = operands.map((x) => ops.cast(ops.equal(x, y), g.dtype));
      const share = div(g, chosen.reduce(add));
      return operands.map((x, i) => unbroadcast(mul(share, chosen[i]!), x!.dims, ops));
    },
  });
}
/** ONNX Min. */
export const Min = extreme('Min', Math.min);
/**
 * The least of the operands, broadcast; NaN where one is NaN.
 *
 * Shapes   any → their dims broadcast together
 * Dtypes   numbers, all the same
 * Throws   ShapeError when the dims do not broadcast or the dtypes differ
 * Lowers   everywhere: Min
 */
export const min = (...operands: readonly Operand[]): Value => apply(Min, operands, {})[0]!;
/** ONNX Max. */
export const Max = extreme('Max', Math.max);
/**
 * The greatest of the operands, broadcast; NaN where one is NaN.
 *
 * Shapes   any → their dims broadcast together
 * Dtypes   numbers, all the same
 * Throws   ShapeError when the dims do not broadcast or the dtypes differ
 * Lowers   everywhere: Max
 */
export const max = (...operands: readonly Operand[]): Value => apply(Max, operands, {})[0]!;

const clipOperands = ['x', 'low?', 'high?'] as const;
/** ONNX Clip. */
export const Clip = defineOp<Attrs, typeof clipOperands>({
  key: 'Clip',
  operands: clipOperands,
  since: 13,
  attributes: {},
  infer(operands) {
    const [x, ...bounds] = acceptAlike(
      operands.filter((o) => o !== undefined),
      'number',
    );
    if (!x || !operands[0]) throw mismatch('the operand is missing');
    if (bounds.some((b) => b.dims.length))
      throw mismatch('a bound is not a scalar', '[]', `[${bounds.find((b) => b.dims.length)!.dims}]`);
    return [x];
  },
  simplify: (operands) => (operands.slice(1).every((o) => o === undefined) ? operands[0] : undefined),
  evaluate([x, low, high]) {
    const [least, most] = [low?.data[0] ?? Number.NEGATIVE_INFINITY, high?.data[0] ?? Number.POSITIVE_INFINITY];
    return [{ ...x!, data: x!.data.map((v) => Math.min(Math.max(v, least), most)) }];
  },
  vjp({ operands: [x, low, high] }, [g], { lessOrEqual, logicalAnd, where }) {
    if (!g || !x) return [];
    const above = low && lessOrEqual(low, x);
    const below = high && lessOrEqual(x, high);
    const inside = above && below ? logicalAnd(above, below) : (above ?? below);
    return [inside ? where(inside, g, 0) : g];
  },
});
/**
 * x limited to the range from low to high; a missing bound is open. The gradient of the bounds is not computed.
 *
 * Shapes   x any; low, high []
 * Dtypes   numbers, all the same
 * Throws   ShapeError when a bound is not a scalar or the dtypes differ
 * Lowers   everywhere: Clip
 * Example  const y = ops.clip(x, -1, 1);
 */
export const clip = (x: Operand, low?: Operand, high?: Operand): Value => apply(Clip, [x, low, high], {})[0]!;
