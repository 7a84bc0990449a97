// MatMulNBits of com.microsoft: a product with weights in blocks of codes, which it never dequantises as a whole.

import { defineOp, type Op, operandsOf, printType } from '../ir/define-op';
import { apply, madeBy, mismatch } from '../ir/graph';
import { defineReasons } from '../lower/reason';
import { reasons } from '../lower/reasons';
import { refuse, rule } from '../lower/rule';
import { add } from '../ops/elementwise';
import { Linear, linear } from '../ops/matmul';
import { type AccuracyLevel, type CodeBits, DequantizeBlocks, dequantizeBlocks } from '../ops/quantized';

type MatMulNBitsAttrs = {
  readonly K: number;
  readonly N: number;
  readonly bits: CodeBits;
  readonly block_size: number;
  readonly accuracy_level?: AccuracyLevel;
};

const names = ['x', 'packed', 'scales', 'zeroPoints?'] as const;
/** The kernel. Operands: x [..., K], packed uint8 [N, blocks, block_size · bits / 8], scales [N, blocks], zero points uint8 [N, ⌈blocks · bits / 8⌉] or none. */
export const MatMulNBits: Op<MatMulNBitsAttrs, typeof names> = defineOp<MatMulNBitsAttrs, typeof names>({
  key: 'com.microsoft.MatMulNBits',
  operands: names,
  attributes: { K: 'int', N: 'int', bits: 'int', block_size: 'int', accuracy_level: 'int' },
  form: ({ bits, block_size }) => `bits=${bits} block_size=${block_size}`,
  asks: ([x, , , zeroPoints], { K, bits, block_size }) => ({
    rank: x!.dims.length,
    'zero points': !!zeroPoints,
    'an incomplete block': K % block_size !== 0,
    '8 bits': bits === 8,
  }),
  infer([x], { K, N }) {
    if (x?.dims.at(-1) !== K) throw mismatch(`the weight requires ${K} channels`, `${K} in the last axis of x`, printType(x));
    return [{ dtype: x.dtype, dims: [...x.dims.slice(0, -1), N] }];
  },
  decompose: ([x, packed, scales, zeros], { K, bits, block_size }) => [
    linear(x, dequantizeBlocks(packed, scales, zeros, { bits, blockSize: block_size, columns: K })),
  ],
});

const own = defineReasons({
  /** Not a refusal: a note about the format of the weight. */
  blocks: ({
    bits,
    blockSize,
    accuracyLevel,
  }: {
    readonly bits: number;
    readonly blockSize: number;
    readonly accuracyLevel: number;
  }) =>
    `the weight is read as codes of ${bits} bits in blocks of ${blockSize}; accuracy level ${accuracyLevel}: products are computed in ${computedIn[accuracyLevel]}`,
});
const computedIn = [
  'the dtype of the activations',
  'float32',
  'float16',
  'bfloat16',
  'int8 where the runtime can, with rounded activations',
];

/** Linear on a weight made by DequantizeBlocks → MatMulNBits. */
export const useMatMulNBits = rule('Linear(DequantizeBlocks) → MatMulNBits', Linear, (node) => {
  const { x, weight, bias } = operandsOf(Linear, node.operands);
  const blocks = madeBy(weight, DequantizeBlocks);
  if (!blocks) return undefined;
  const { bits, blockSize, columns, accuracyLevel } = blocks.attrs;
  const N = weight.dims[0];
  if (typeof N !== 'number') return refuse(reasons.sizeUnknown({ size: 'rows of the weight' }));
  return {
    covers: node.outputs,
    notes: [own.blocks({ bits, blockSize, accuracyLevel: accuracyLevel ?? 0 })],
    emit(get) {
      const { packed, scales, zeroPoints } = operandsOf(DequantizeBlocks, blocks.operands);
      const operands = { x: get(x), packed: get(packed), scales: get(scales), zeroPoints: zeroPoints && get(zeroPoints) };
      const attrs = { K: columns, N, bits, block_size: blockSize, ...(accuracyLevel && { accuracy_level: accuracyLevel }) };
      const y = apply(MatMulNBits, operands, attrs)[0]!;
      return [bias ? add(y, get(bias)) : y];
    },
  };
});
