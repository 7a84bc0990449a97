// Conversion of dtypes.

import { defineOp, noFlops, type Op } from '../ir/define-op';
import { apply, madeBy, type Operand, type Value } from '../ir/graph';
import { castNumber } from '../tensor/convert';
import { type DType, isFloat } from '../tensor/tensor';
import { accept } from './accept';
import { elementTypes } from './encode';

// The dtypes that represent every number of another one, so that a cast through them is exact.
const widenings: Partial<Record<DType, readonly DType[]>> = {
  float16: ['float32', 'float64'],
  bfloat16: ['float32', 'float64'],
  float32: ['float64'],
  int8: ['int16', 'int32', 'int64', 'float16', 'float32', 'float64'],
  uint8: ['int16', 'int32', 'int64', 'uint16', 'uint32', 'uint64', 'float16', 'float32', 'float64'],
  int16: ['int32', 'int64', 'float32', 'float64'],
  uint16: ['int32', 'int64', 'uint32', 'uint64', 'float32', 'float64'],
  int32: ['int64', 'float64'],
  uint32: ['int64', 'uint64', 'float64'],
  bool: ['int8', 'int16', 'int32', 'int64', 'uint8', 'uint16', 'uint32', 'uint64', 'float16', 'bfloat16', 'float32', 'float64'],
};

type CastAttrs = { readonly to: DType };

/** ONNX Cast. */
export const Cast: Op<CastAttrs> = defineOp<CastAttrs>({
  key: 'Cast',
  flops: noFlops,
  since: 13,
  attributes: { to: 'data' },
  infer: ([x], { to }) => [{ dtype: to, dims: accept(x, 'any').dims }],
  simplify([x], { to }) {
    if (!x || x.dtype === to) return x;
    const from = madeBy(x, Cast)?.operands[0];
    return from && widenings[from.dtype]?.includes(x.dtype) ? cast(from, to) : undefined;
  },
  evaluate: ([x], { to }) => [{ dtype: to, dims: x!.dims, data: x!.data.map((v) => castNumber(v, x!.dtype, to)) }],
  vjp: ({ operands: [x] }, [g]) => [g && isFloat(x!.dtype) ? cast(g, x!.dtype) : undefined],
  encode: ({ operands, attrs: { to } }) => ({
    opType: 'Cast',
    domain: '',
    operands,
    attributes: { to: { kind: 'int', value: elementTypes[to] } },
  }),
});
/**
 * x converted to another dtype: a float is truncated to an integer towards 0, any number except 0 is true. Differentiable between floats.
 *
 * The reference does not round floats. The result for a float beyond the range of an integer depends on the runtime.
 *
 * Shapes   x any → the same
 * Dtypes   any → `to`
 * Throws   nothing: any dtype becomes any other
 * Lowers   everywhere: Cast
 * Example  const y = ops.cast(x, 'float16');
 */
export const cast = (x: Operand, to: DType): Value => apply(Cast, [x], { to })[0]!;
