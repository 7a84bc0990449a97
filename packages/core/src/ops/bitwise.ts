// Bitwise operations on integers.

import { defineOp, type Op, type TensorType } from '../ir/define-op';
import { apply, mismatch, type Operand, type Value } from '../ir/graph';
import { bitsOf, type DType } from '../tensor/tensor';
import { accept, acceptAlike } from './accept';
import { broadcastDims, mapBroadcast } from './broadcast';

// Numbers of up to 32 bits go through int32, wider ones through BigInt.
const wide = (dtype: DType): boolean => bitsOf(dtype) > 32;
const unsigned = (dtype: DType): boolean => dtype.startsWith('uint');
const back = (dtype: DType, x: number): number => (unsigned(dtype) && bitsOf(dtype) === 32 ? x >>> 0 : x);
const asDtype = (dtype: DType, x: bigint): number => Number(unsigned(dtype) ? BigInt.asUintN(64, x) : BigInt.asIntN(64, x));

/* @__NO_SIDE_EFFECTS__ */
function bitwise(key: string, narrow: (a: number, b: number) => number, big: (a: bigint, b: bigint) => bigint): Op {
  return defineOp({
    key,
    since: 18,
    attributes: {},
    infer(operands) {
      const [a, b] = acceptAlike(operands, 'integer') as [TensorType, TensorType];
      return [{ dtype: a.dtype, dims: broadcastDims(a.dims, b.dims) }];
    },
    evaluate([a, b]) {
      const { dtype } = a!;
      const f = wide(dtype)
        ? (x: number, y: number) => asDtype(dtype, big(BigInt(x), BigInt(y)))
        : (x: number, y: number) => back(dtype, narrow(x, y));
      return [mapBroadcast([a!, b!], dtype, f)];
    },
    vjp: 'nonDifferentiable',
  });
}

/** ONNX BitwiseAnd. */
export const BitwiseAnd = bitwise(
  'BitwiseAnd',
  (a, b) => a & b,
  (a, b) => a & b,
);
/**
 * The bits that are set in both a and b.
 *
 * Shapes   a, b any → their dims broadcast together
 * Dtypes   integers, both the same
 * Throws   ShapeError when the dims do not broadcast or the dtypes differ
 * Lowers   everywhere: BitwiseAnd
 */
export const bitwiseAnd = (a: Operand, b: Operand): Value => apply(BitwiseAnd, [a, b], {})[0]!;

/** ONNX BitwiseOr. */
export const BitwiseOr = bitwise(
  'BitwiseOr',
  (a, b) => a | b,
  (a, b) => a | b,
);
/**
 * The bits that are set in a or b.
 *
 * Shapes   a, b any → their dims broadcast together
 * Dtypes   integers, both the same
 * Throws   ShapeError when the dims do not broadcast or the dtypes differ
 * Lowers   everywhere: BitwiseOr
 */
export const bitwiseOr = (a: Operand, b: Operand): Value => apply(BitwiseOr, [a, b], {})[0]!;

/** ONNX BitwiseXor. */
export const BitwiseXor = bitwise(
  'BitwiseXor',
  (a, b) => a ^ b,
  (a, b) => a ^ b,
);
/**
 * The bits that are set in exactly one of a and b.
 *
 * Shapes   a, b any → their dims broadcast together
 * Dtypes   integers, both the same
 * Throws   ShapeError when the dims do not broadcast or the dtypes differ
 * Lowers   everywhere: BitwiseXor
 */
export const bitwiseXor = (a: Operand, b: Operand): Value => apply(BitwiseXor, [a, b], {})[0]!;

/** ONNX BitwiseNot. */
export const BitwiseNot = defineOp({
  key: 'BitwiseNot',
  since: 18,
  attributes: {},
  infer: ([x]) => [accept(x, 'integer')],
  evaluate: ([x]) => [{ ...x!, data: x!.data.map((v) => (unsigned(x!.dtype) ? 2 ** bitsOf(x!.dtype) - 1 : -1) - v) }],
  vjp: 'nonDifferentiable',
});
/**
 * All bits inverted.
 *
 * Shapes   x any → the same
 * Dtypes   integers
 * Throws   ShapeError when x has another dtype
 * Lowers   everywhere: BitwiseNot
 */
export const bitwiseNot = (x: Operand): Value => apply(BitwiseNot, [x], {})[0]!;

/** ONNX BitShift. */
export const BitShift = defineOp<{ direction: 'LEFT' | 'RIGHT' }>({
  key: 'BitShift',
  since: 11,
  attributes: { direction: 'string' },
  infer(operands) {
    const [a, b] = acceptAlike(operands, 'integer') as [TensorType, TensorType];
    if (!unsigned(a.dtype)) throw mismatch('only unsigned integers can be shifted', 'uint8, uint16, uint32 or uint64', a.dtype);
    return [{ dtype: a.dtype, dims: broadcastDims(a.dims, b.dims) }];
  },
  evaluate([a, b], { direction }) {
    const { dtype } = a!;
    const f = (x: number, by: number) => {
      const shifted = direction === 'LEFT' ? BigInt(x) << BigInt(by) : BigInt(x) >> BigInt(by);
      return Number(BigInt.asUintN(bitsOf(dtype), shifted));
    };
    return [mapBroadcast([a!, b!], dtype, f)];
  },
  vjp: 'nonDifferentiable',
});
/**
 * The bits of a shifted by b places towards the high (`LEFT`) or the low end.
 *
 * Shapes   a, b any → their dims broadcast together
 * Dtypes   unsigned integers, both the same
 * Throws   ShapeError when the dims do not broadcast or the dtypes differ
 * Lowers   everywhere: BitShift
 */
export const shift = (a: Operand, b: Operand, direction: 'LEFT' | 'RIGHT'): Value => apply(BitShift, [a, b], { direction })[0]!;
