// MatMulNBits of com.microsoft: a product with weights in blocks of 4-bit codes, which it never dequantises as a whole.

import { defineOp, type Op, operandsOf, printType } from '../ir/define-op';
import { apply, madeBy, mismatch } from '../ir/graph';
import { defineReasons } from '../lower/reason';
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
  infer([x], { K, N }) {
    if (x?.dims.at(-1) !== K) throw mismatch(`the weight requires ${K} channels`, `${K} in the last axis of x`, printType(x));
    return [{ dtype: x.dtype, dims: [...x.dims.slice(0, -1), N] }];
  },
  decompose: ([x, packed, scales, zeros], { K, block_size }) => [
    linear(x, dequantizeBlocks(packed, scales, zeros, { blockSize: block_size, columns: K })),
  ],
});

const own = defineReasons({
  blockSize: ({ got }: { readonly got: number }) => `blocks of ${got} are not a power of two of at least 16`,
});

/** Linear on a weight made by DequantizeBlocks → MatMulNBits. */
export const useMatMulNBits = rule('Linear(DequantizeBlocks) → MatMulNBits', Linear, (node) => {
  const { x, weight, bias } = operandsOf(Linear, node.operands);
  const blocks = madeBy(weight, DequantizeBlocks);
  if (!blocks) return undefined;
  const { blockSize, columns } = blocks.attrs;
  if (blockSize < 16 || !Number.isInteger(Math.log2(blockSize))) return refuse(own.blockSize({ got: blockSize }));
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
