// Reductions over axes: sums, means, extremes and others.
import { mulDims } from '../dim/dim';
import { describe, ShapeError } from '../error';
import { countIn, defineOp, type Op } from '../ir/define-op';
import { apply, mismatch, type Operand, type Value, type Vocabulary } from '../ir/graph';
import { type Accepts, accept, fitting, rankOf } from './accept';
import { cast } from './cast';
import { equal, where } from './comparison';
import { div, exp, isInf, mul, sub } from './elementwise';
import { encoded, int64s } from './encode';
import { largest, logSumExpOf, reduceArray, reducedDims } from './reduced';
import { axesOf, axisOf } from './strides';

/** `keepDims`: whether the reduced axes stay, with size 1. Default true, as in ONNX. */
export type ReduceOptions = { readonly keepDims?: boolean };
type ReduceAttrs = { readonly axes: readonly number[]; readonly keepdims: number };

interface Reduction {
  readonly accepts?: Accepts;
  /** The result for the elements x[base + at[0]], x[base + at[1]], … */
  readonly f: (x: Float64Array, base: number, at: Int32Array) => number;
  /** The gradient of x; g and y have the reduced axes with size 1. */
  readonly grad: (g: Value, x: Value, y: Value, axes: readonly number[], ops: Vocabulary) => Value;
}

/* @__NO_SIDE_EFFECTS__ */
function reduction(key: string, since: number, { accepts = 'number', f, grad }: Reduction): Op<ReduceAttrs> {
  return defineOp<ReduceAttrs>({
    key,
    since,
    attributes: { axes: 'ints', keepdims: 'int' },
    infer: ([x], { axes, keepdims }) => [{ dtype: accept(x, accepts).dtype, dims: reducedDims(x!.dims, axes, keepdims === 1) }],
    evaluate([x], { axes, keepdims }) {
      const fit = fitting(x!.dtype);
      return [reduceArray(x!, axes, keepdims === 1, (...at) => fit(f(...at)))];
    },
    flops: ({ operands: [x] }, sizes) => countIn(x!, sizes),
    simplify: ([x], { axes }) => (axes.length === 0 ? x : undefined),
    vjp({ operands: [x], outputs: [y], attrs: { axes, keepdims } }, [g], ops) {
      if (!g || !x) return [];
      const kept = (v: Value) => (keepdims ? v : ops.unsqueeze(v, axesOf(axes, x.rank)));
      return [grad(kept(g), x, kept(y!), axes, ops)];
    },
    encode: (node) => encoded(node, [node.operands[0], int64s(node.attrs.axes)], ['axes']),
  });
}

function reduce(op: Op<ReduceAttrs>, x: Operand, axes: readonly number[], o: ReduceOptions): Value {
  const { keepDims = true } = o ?? {};
  const rank = rankOf(x);
  if (!Array.isArray(axes))
    throw new ShapeError({ path: op.key, problem: 'axes are missing', expected: 'a list of axes', got: describe(axes) });
  const fromFront = axes.map((a) => (a < 0 ? a + rank : a)).sort((a, b) => a - b);
  return apply(op, [x], { axes: fromFront, keepdims: keepDims ? 1 : 0 })[0]!;
}

const sum = (x: Float64Array, base: number, at: Int32Array): number => {
  let total = 0;
  for (let i = 0; i < at.length; i++) total += x[base + at[i]!]!;
  return total;
};
const least = (x: Float64Array, base: number, at: Int32Array): number => {
  let lowest = Number.POSITIVE_INFINITY;
  for (let i = 0; i < at.length; i++) lowest = Math.min(lowest, x[base + at[i]!]!);
  return lowest;
};
// Equal elements share the gradient.
const toExtremes = (g: Value, x: Value, y: Value, axes: readonly number[], { cast, div, equal, mul }: Vocabulary): Value => {
  const chosen = cast(equal(x, y), g.dtype);
  return mul(div(g, reduceSum(chosen, axes)), chosen);
};
/** Number of elements that are reduced to one, as a number or a scalar of x's dtype. */
function countAlong(x: Value, axes: readonly number[], { cast, size }: Vocabulary): number | Value {
  const count = mulDims(...axes.map((a) => x.dims[a]!));
  return typeof count === 'number' ? count : cast(size(x, count, [x]), x.dtype);
}

/** ONNX ReduceSum. */
export const ReduceSum = reduction('ReduceSum', 13, { f: sum, grad: (g, x, _, __, { expand }) => expand(g, x.dims) });
/**
 * The sum over axes.
 *
 * Shapes   x [a, n, b], axes [1] → [a, 1, b], with `keepDims: false` [a, b]
 * Dtypes   numbers
 * Throws   ShapeError when an axis does not exist or is named twice
 * Lowers   everywhere: ReduceSum
 * Example  const y = ops.reduceSum(x, [0, 1], { keepDims: false });
 */
export const reduceSum = (x: Operand, axes: readonly number[], options: ReduceOptions = {}): Value =>
  reduce(ReduceSum, x, axes, options);

/** ONNX ReduceMean. */
export const ReduceMean = reduction('ReduceMean', 18, {
  f: (x, base, at) => sum(x, base, at) / (at.length || 1),
  grad: (g, x, _, axes, ops) => ops.expand(ops.div(g, countAlong(x, axes, ops)), x.dims),
});
/**
 * The mean over axes; 0 if there are no elements, for integers truncated towards 0.
 *
 * Shapes   x [a, n, b], axes [1] → [a, 1, b], with `keepDims: false` [a, b]
 * Dtypes   numbers
 * Throws   ShapeError when an axis does not exist or is named twice
 * Lowers   everywhere: ReduceMean
 */
export const reduceMean = (x: Operand, axes: readonly number[], options: ReduceOptions = {}): Value =>
  reduce(ReduceMean, x, axes, options);

/** ONNX ReduceMax. */
export const ReduceMax = reduction('ReduceMax', 18, { f: largest, grad: toExtremes });
/**
 * The greatest element over axes; -∞ if there is none. Equal elements share the gradient.
 *
 * Shapes   x [a, n, b], axes [1] → [a, 1, b], with `keepDims: false` [a, b]
 * Dtypes   numbers
 * Throws   ShapeError when an axis does not exist or is named twice
 * Lowers   everywhere: ReduceMax
 */
export const reduceMax = (x: Operand, axes: readonly number[], options: ReduceOptions = {}): Value =>
  reduce(ReduceMax, x, axes, options);

/** ONNX ReduceMin. */
export const ReduceMin = reduction('ReduceMin', 18, {
  f: least,
  grad: toExtremes,
});
/**
 * The least element over axes; ∞ if there is none. Equal elements share the gradient.
 *
 * Shapes   x [a, n, b], axes [1] → [a, 1, b], with `keepDims: false` [a, b]
 * Dtypes   numbers
 * Throws   ShapeError when an axis does not exist or is named twice
 * Lowers   everywhere: ReduceMin
 */
export const reduceMin = (x: Operand, axes: readonly number[], options: ReduceOptions = {}): Value =>
  reduce(ReduceMin, x, axes, options);

/** ONNX ReduceProd. */
export const ReduceProd = reduction('ReduceProd', 18, {
  f(x, base, at) {
    let product = 1;
    for (let i = 0; i < at.length; i++) product *= x[base + at[i]!]!;
    return product;
  },
  // The product of the other factors; if exactly one factor is 0, only its gradient is not 0.
  grad(g, x, _, axes) {
    const isZero = equal(x, 0);
    const others = where(isZero, 1, x);
    const product = reduceProd(others, axes);
    const zeros = reduceSum(cast(isZero, x.dtype), axes);
    const one = where(equal(zeros, 1), product, 0);
    const none = where(equal(zeros, 0), product, 0);
    return mul(g, where(isZero, one, div(none, others)));
  },
});
/**
 * The product over axes.
 *
 * Shapes   x [a, n, b], axes [1] → [a, 1, b], with `keepDims: false` [a, b]
 * Dtypes   numbers
 * Throws   ShapeError when an axis does not exist or is named twice
 * Lowers   everywhere: ReduceProd
 */
export const reduceProd = (x: Operand, axes: readonly number[], options: ReduceOptions = {}): Value =>
  reduce(ReduceProd, x, axes, options);

/** ONNX ReduceL2. */
export const ReduceL2 = reduction('ReduceL2', 18, {
  accepts: 'float',
  f: (x, base, at) => {
    const scale = Math.max(largest(x, base, at), -least(x, base, at), 0);
    if (scale === 0 || !Number.isFinite(scale)) return scale;
    let total = 0;
    for (let i = 0; i < at.length; i++) total += (x[base + at[i]!]! / scale) ** 2;
    return scale * Math.sqrt(total);
  },
  grad: (g, x, y) => mul(g, where(equal(y, 0), 0, div(x, y))),
});
/**
 * The square root of the sum of squares over axes. Its gradient at 0 is 0.
 *
 * Shapes   x [a, n, b], axes [1] → [a, 1, b], with `keepDims: false` [a, b]
 * Dtypes   floats
 * Throws   ShapeError when an axis does not exist or is named twice
 * Lowers   everywhere: ReduceL2
 */
export const reduceL2 = (x: Operand, axes: readonly number[], options: ReduceOptions = {}): Value =>
  reduce(ReduceL2, x, axes, options);

/** ONNX ReduceSumSquare. */
export const ReduceSumSquare = reduction('ReduceSumSquare', 18, {
  f(x, base, at) {
    let total = 0;
    for (let i = 0; i < at.length; i++) total += x[base + at[i]!]! ** 2;
    return total;
  },
  grad: (g, x) => mul(g, mul(x, 2)),
});
/**
 * The sum of squares over axes.
 *
 * Shapes   x [a, n, b], axes [1] → [a, 1, b], with `keepDims: false` [a, b]
 * Dtypes   numbers
 * Throws   ShapeError when an axis does not exist or is named twice
 * Lowers   everywhere: ReduceSumSquare
 */
export const reduceSumSquare = (x: Operand, axes: readonly number[], options: ReduceOptions = {}): Value =>
  reduce(ReduceSumSquare, x, axes, options);

/** ONNX ReduceLogSumExp. */
export const ReduceLogSumExp = reduction('ReduceLogSumExp', 18, {
  accepts: 'float',
  f: logSumExpOf,
  grad: (g, x, y) => mul(g, where(isInf(y), 0, exp(sub(x, y)))),
});
/**
 * log Σ eˣ over axes; -∞ if every element is -∞.
 *
 * Shapes   x [a, n, b], axes [1] → [a, 1, b], with `keepDims: false` [a, b]
 * Dtypes   floats
 * Throws   ShapeError when an axis does not exist or is named twice
 * Lowers   everywhere: ReduceLogSumExp
 * Example  const y = ops.logSumExp(x, [-1]);
 */
export const logSumExp = (x: Operand, axes: readonly number[], options: ReduceOptions = {}): Value =>
  reduce(ReduceLogSumExp, x, axes, options);

type ArgAttrs = { readonly axis: number; readonly keepdims: number; readonly select_last_index: number };

/* @__NO_SIDE_EFFECTS__ */
function extremeIndex(key: string, better: (a: number, b: number) => boolean): Op<ArgAttrs> {
  return defineOp<ArgAttrs>({
    key,
    since: 13,
    attributes: { axis: 'int', keepdims: 'int', select_last_index: 'int' },
    form: ({ select_last_index: last }) => `select_last_index=${last}`,
    infer([x], { axis, keepdims }) {
      const { dims } = accept(x, 'number');
      if (dims[axisOf(axis, dims.length)] === 0) throw mismatch(`axis ${axis} has no elements`, 'at least 1', '0');
      return [{ dtype: 'int64', dims: reducedDims(dims, [axis], keepdims === 1) }];
    },
    evaluate([x], { axis, keepdims, select_last_index: last }) {
      const index = (data: Float64Array, base: number, at: Int32Array): number => {
        let best = 0;
        for (let i = 1; i < at.length; i++) {
          const [candidate, leader] = [data[base + at[i]!]!, data[base + at[best]!]!];
          if (better(candidate, leader) || (last && candidate === leader)) best = i;
        }
        return best;
      };
      return [{ ...reduceArray(x!, [axis], keepdims === 1, index), dtype: 'int64' }];
    },
    vjp: 'nonDifferentiable',
  });
}

/** `last`: the last of equal elements instead of the first. */
export type ArgOptions = ReduceOptions & { readonly last?: boolean };

function arg(op: Op<ArgAttrs>, x: Operand, axis: number, o: ArgOptions): Value {
  const { keepDims = true, last = false } = o ?? {};
  const fromFront = axis < 0 ? axis + rankOf(x) : axis;
  return apply(op, [x], { axis: fromFront, keepdims: keepDims ? 1 : 0, select_last_index: last ? 1 : 0 })[0]!;
}

/** ONNX ArgMax. */
export const ArgMax = extremeIndex('ArgMax', (a, b) => a > b);
/**
 * The index of the greatest element along the axis: int64.
 *
 * Shapes   x [a, n, b], axis 1 → [a, 1, b], with `keepDims: false` [a, b]
 * Dtypes   numbers
 * Throws   ShapeError when the axis does not exist or has no elements
 * Lowers   everywhere: ArgMax
 * Example  const best = ops.argMax(x, -1);
 */
export const argMax = (x: Operand, axis: number, options: ArgOptions = {}): Value => arg(ArgMax, x, axis, options);

/** ONNX ArgMin. */
export const ArgMin = extremeIndex('ArgMin', (a, b) => a < b);
/**
 * The index of the least element along the axis: int64.
 *
 * Shapes   x [a, n, b], axis 1 → [a, 1, b], with `keepDims: false` [a, b]
 * Dtypes   numbers
 * Throws   ShapeError when the axis does not exist or has no elements
 * Lowers   everywhere: ArgMin
 */
export const argMin = (x: Operand, axis: number, options: ArgOptions = {}): Value => arg(ArgMin, x, axis, options);
