// Comparisons, logic on bools, and selection between two values.

import { type Attrs, defineOp, type Op, type TensorType } from '../ir/define-op';
import { apply, madeBy, mismatch, type Operand, type Value } from '../ir/graph';
import { type Accepts, accept, acceptAlike, constantOf } from './accept';
import { broadcastDims, broadcastTo, keepsDims, mapBroadcast, unbroadcast } from './broadcast';

/* @__NO_SIDE_EFFECTS__ */
function predicate(key: string, since: number, accepts: Accepts, f: (a: number, b: number) => boolean): Op {
  return defineOp({
    key,
    since,
    attributes: {},
    infer(operands) {
      const [a, b] = acceptAlike(operands, accepts) as [TensorType, TensorType | undefined];
      if (!b) throw mismatch('an operand is missing', 'two operands', '1');
      return [{ dtype: 'bool', dims: broadcastDims(a.dims, b.dims) }];
    },
    evaluate: ([a, b]) => [mapBroadcast([a!, b!], 'bool', (x, y) => (f(x, y) ? 1 : 0))],
    vjp: 'nonDifferentiable',
  });
}
const two = (op: Op, a: Operand, b: Operand): Value => apply(op, [a, b], {})[0]!;

/** ONNX Equal. */
export const Equal = predicate('Equal', 13, 'any', (a, b) => a === b);
/**
 * Where a = b. NaN equals nothing.
 *
 * Shapes   a, b any → their dims broadcast together
 * Dtypes   any, both the same → bool
 * Throws   ShapeError when the dims do not broadcast or the dtypes differ
 * Lowers   everywhere: Equal
 */
export const equal = (a: Operand, b: Operand): Value => two(Equal, a, b);

/** ONNX Less. */
export const Less = predicate('Less', 13, 'number', (a, b) => a < b);
/**
 * Where a < b.
 *
 * Shapes   a, b any → their dims broadcast together
 * Dtypes   numbers, both the same → bool
 * Throws   ShapeError when the dims do not broadcast or the dtypes differ
 * Lowers   everywhere: Less
 */
export const less = (a: Operand, b: Operand): Value => two(Less, a, b);

/** ONNX LessOrEqual. */
export const LessOrEqual = predicate('LessOrEqual', 16, 'number', (a, b) => a <= b);
/**
 * Where a ≤ b.
 *
 * Shapes   a, b any → their dims broadcast together
 * Dtypes   numbers, both the same → bool
 * Throws   ShapeError when the dims do not broadcast or the dtypes differ
 * Lowers   everywhere: LessOrEqual
 */
export const lessOrEqual = (a: Operand, b: Operand): Value => two(LessOrEqual, a, b);

/** ONNX Greater. */
export const Greater = predicate('Greater', 13, 'number', (a, b) => a > b);
/**
 * Where a > b.
 *
 * Shapes   a, b any → their dims broadcast together
 * Dtypes   numbers, both the same → bool
 * Throws   ShapeError when the dims do not broadcast or the dtypes differ
 * Lowers   everywhere: Greater
 */
export const greater = (a: Operand, b: Operand): Value => two(Greater, a, b);

/** ONNX GreaterOrEqual. */
export const GreaterOrEqual = predicate('GreaterOrEqual', 16, 'number', (a, b) => a >= b);
/**
 * Where a ≥ b.
 *
 * Shapes   a, b any → their dims broadcast together
 * Dtypes   numbers, both the same → bool
 * Throws   ShapeError when the dims do not broadcast or the dtypes differ
 * Lowers   everywhere: GreaterOrEqual
 */
export const greaterOrEqual = (a: Operand, b: Operand): Value => two(GreaterOrEqual, a, b);

/** ONNX And. */
export const And = predicate('And', 7, 'bool', (a, b) => a !== 0 && b !== 0);
/**
 * True where both are true, broadcast.
 *
 * Shapes   a, b any → their dims broadcast together
 * Dtypes   bool
 * Throws   ShapeError when the dims do not broadcast or the dtypes differ
 * Lowers   everywhere: And
 */
export const logicalAnd = (a: Operand, b: Operand): Value => two(And, a, b);

/** ONNX Or. */
export const Or = predicate('Or', 7, 'bool', (a, b) => a !== 0 || b !== 0);
/**
 * True where at least one is true, broadcast.
 *
 * Shapes   a, b any → their dims broadcast together
 * Dtypes   bool
 * Throws   ShapeError when the dims do not broadcast or the dtypes differ
 * Lowers   everywhere: Or
 */
export const logicalOr = (a: Operand, b: Operand): Value => two(Or, a, b);

/** ONNX Xor. */
export const Xor = predicate('Xor', 7, 'bool', (a, b) => a !== b);
/**
 * True where exactly one is true, broadcast.
 *
 * Shapes   a, b any → their dims broadcast together
 * Dtypes   bool
 * Throws   ShapeError when the dims do not broadcast or the dtypes differ
 * Lowers   everywhere: Xor
 */
export const logicalXor = (a: Operand, b: Operand): Value => two(Xor, a, b);

/** ONNX Not. */
export const Not: Op = defineOp({
  key: 'Not',
  since: 1,
  attributes: {},
  infer: ([x]) => [accept(x, 'bool')],
  simplify: ([x]) => madeBy(x, Not)?.operands[0],
  evaluate: ([x]) => [{ ...x!, data: x!.data.map((v) => (v ? 0 : 1)) }],
  vjp: 'nonDifferentiable',
});
/**
 * True where x is false.
 *
 * Shapes   x any → the same
 * Dtypes   bool
 * Throws   ShapeError when x is not bool
 * Lowers   everywhere: Not
 */
export const logicalNot = (x: Operand): Value => apply(Not, [x], {})[0]!;

const whereOperands = ['condition', 'yes', 'no'] as const;
/** ONNX Where. */
export const Where = defineOp<Attrs, typeof whereOperands>({
  key: 'Where',
  operands: whereOperands,
  since: 16,
  attributes: {},
  infer([condition, yes, no]) {
    accept(condition, 'bool', 'the condition');
    const [a, b] = acceptAlike([yes, no], 'any') as [TensorType, TensorType];
    return [{ dtype: a.dtype, dims: broadcastDims(condition!.dims, a.dims, b.dims) }];
  },
  simplify([condition, yes, no]) {
    const known = constantOf(condition);
    if (known === undefined || !yes || !no || yes.dtype !== no.dtype) return undefined;
    const [chosen, other] = known ? [yes, no] : [no, yes];
    return keepsDims(chosen.dims, condition!.dims, other.dims) ? chosen : undefined;
  },
  evaluate([condition, yes, no]) {
    const dims = broadcastDims(condition!.dims, yes!.dims, no!.dims) as number[];
    const [a, b] = [broadcastTo(yes!, dims).data, broadcastTo(no!, dims).data];
    return [{ dtype: yes!.dtype, dims, data: broadcastTo(condition!, dims).data.map((c, i) => (c ? a[i]! : b[i]!)) }];
  },
  vjp({ operands: [condition, yes, no] }, [g], ops) {
    if (!g) return [];
    return [undefined, unbroadcast(where(condition, g, 0), yes!.dims, ops), unbroadcast(where(condition, 0, g), no!.dims, ops)];
  },
});
/**
 * `yes` where the condition is true, otherwise `no`; all three broadcast.
 *
 * Shapes   condition, yes, no any → their dims broadcast together
 * Dtypes   condition bool; yes, no any, both the same
 * Throws   ShapeError when the dims do not broadcast or the dtypes differ
 * Lowers   everywhere: Where
 * Example  const y = ops.where(ops.greater(x, 0), x, 0);
 */
export const where = (condition: Operand, yes: Operand, no: Operand): Value => apply(Where, [condition, yes, no], {})[0]!;
