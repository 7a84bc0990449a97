// An attention block between two ops that onnxformers has no function for: bytes in, unit vectors out.
import { multiHead } from '@onnxformers/attention/multi-head';
import { module, type Operand, type SequenceContext, tensor, type Value } from '@onnxformers/core';
import { mismatch, printType } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';

/** Numbers from bytes: (x − zeroPoint) · scale. Operands: x, scale float32 [], zero point of the dtype of x []. */
const DequantizeLinear = ops.onnxOp({
  key: 'DequantizeLinear',
  since: 10,
  infer([x, scale]) {
    if (x?.dtype !== 'uint8' || scale?.dtype !== 'float32') throw mismatch('no bytes to scale', 'uint8, float32', printType(x));
    return [{ dtype: 'float32', dims: x.dims }];
  },
  kernels: { cpu: ['float32'], cuda: ['float32'], wasm: ['float32'], portable: ['float32'] },
});

/** Vectors divided by their Euclidean norm along an axis. For targets without a kernel, such as CUDA, `decompose` defines it. */
const LpNormalization = ops.onnxOp({
  key: 'LpNormalization',
  since: 1,
  attributes: { axis: 'int', p: 'int' },
  infer: ([x]) => [x!],
  decompose: ([x], { axis = -1 }) => [ops.div(x!, ops.sqrt(ops.reduceSum(ops.mul(x!, x!), [axis])))],
  kernels: { cpu: ['float32', 'float64'], wasm: ['float32'], portable: ['float32', 'float64'] },
});

const one = (values: readonly Value[]): Value => values[0]!;
const dequantize = (x: Operand, scale: number, zeroPoint: number): Value =>
  one(DequantizeLinear([x, tensor('float32', [], [scale]), tensor('uint8', [], [zeroPoint])]));
const unitLength = (x: Operand): Value => one(LpNormalization([x], { axis: -1, p: 2 }));

/** The mapping from bytes to numbers: 128 is 0, a step is 1/64. */
export const quantization = { scale: 1 / 64, zeroPoint: 128 } as const;

/** The block by itself: x float32 [batch, seq, 24] → y [batch, seq, 10]. */
export const attention = () => multiHead({ dim: 24, heads: 3, outDim: 10 });

/** The same block with its neighbours: x uint8 [batch, seq, 24] → y float32 [batch, seq, 10], each row of length 1. */
export function byteFeatures() {
  const block = attention();
  return module({ block }, ({ x }: Readonly<Record<string, Value>>, ctx: SequenceContext) => ({
    y: unitLength(block(dequantize(x, quantization.scale, quantization.zeroPoint), ctx)),
  }));
}
