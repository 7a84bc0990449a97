// MatMulNBits of com.microsoft: a product with weights in blocks of 4-bit codes, which it never dequantises as a whole.

import { defineOp, type Op, operandsOf, printType } from '../ir/define-op';
import { apply, madeBy, mismatch } from '../ir/graph';
import { reasons } from '../lower/reasons';
import { refuse, rule } from '../lower/rule';
import { add } from '../ops/elementwise';
import { Linear, linear } from '../ops/matmul';
import { DequantizeBlocks, dequantizeBlocks } from '../ops/quantized';

type MatMulNBitsAttrs = { readonly K: number; readonly N: number; readonly bits: number; readonly block_size: number };

const names = ['x', 'packed', 'scales', 'zeroPoints?'] as const;
/** The kernel. Operands: x [..., K], packed uint8 [N, blocks, block_size / 2], scales [N, blocks], zero points uint8 [N, ⌈blocks / 2⌉] or none. */
export const MatMulNBits: Op<MatMulNBitsAttrs, typeof names> = defineOp<MatMulNBitsAttrs, typeof names>({
  key: 'com.microsoft.MatMulNBits',
  operands: names,
  attributes: { K: 'int', N: 'int', bits: 'int', block_size: 'int' },
  form: ({ bits, block_size }) => `bits=${bits} block_size=${block_size}`,
  asks: ([x, , , zeroPoints], { K, block_size }) => ({
    rank: x!.dims.length,
    'zero points': !!zeroPoints,
    'an incomplete block': K % block_size !== 0,
  }),
  infer([x], { K, N }) {
    if (x?.dims.at(-1) !== K) throw mismatch(`the weight requires ${K} channels`, `${K} in the last axis of x`, printType(x));
    return [{ dtype: x.dtype, dims: [...x.dims.slice(0, -1), N] }];
  },
  decompose: ([x, packed, scales, zeros], { K, block_size }) => [
    linear(x, dequantizeBlocks(packed, scales, zeros, { blockSize: block_size, columns: K })),
  ],
});

/** Linear on a weight made by DequantizeBlocks → MatMulNBits. */
export const useMatMulNBits = rule('Linear(DequantizeBlocks) → MatMulNBits', Linear, (node) => {
  const { x, weight, bias } = operandsOf(Linear, node.operands);
  const blocks = madeBy(weight, DequantizeBlocks);
  if (!blocks) return undefined;
  const { blockSize, columns } = blocks.attrs;
  const N = weight.dims[0];
  if (typeof N !== 'number') return refuse(reasons.sizeUnknown({ size: 'rows of the weight' }));
  return {
    covers: node.outputs,
    emit(get) {
      const { packed, scales, zeroPoints } = operandsOf(DequantizeBlocks, blocks.operands);
      const operands = { x: get(x), packed: get(packed), scales: get(scales), zeroPoints: zeroPoints && get(zeroPoints) };
      const y = apply(MatMulNBits, operands, { K: columns, N, bits: 4, block_size: blockSize })[0]!;
      return [bias ? add(y, get(bias)) : y];
    },
  };
});
