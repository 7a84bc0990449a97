// Quantised weights: blocks of integers of 4 or 8 bits, each block with a scale.
import { ceilDivDims } from '../dim/dim';
import { anObject, given } from '../given';
import { defineOp, type Op, printType, type TensorType } from '../ir/define-op';
import { apply, mismatch, type Operand, type Value, type Vocabulary } from '../ir/graph';
import { accept } from './accept';

/** Bits of one code. */
export type CodeBits = 4 | 8;

/**
 * The type in which a kernel may compute a product with quantised weights, as MatMulNBits numbers them: 0 that of the activations, 1 float32, 2 float16,
 * 3 bfloat16, 4 int8, which rounds the activations.
 */
export type AccuracyLevel = 0 | 1 | 2 | 3 | 4;

/** Attributes of {@link DequantizeBlocks}. */
export type DequantizeBlocksAttrs = {
  readonly bits: CodeBits;
  readonly blockSize: number;
  readonly columns: number;
  /** Of the products with the matrix; its elements do not depend on it. */
  readonly accuracyLevel?: AccuracyLevel;
};

const names = ['packed', 'scales', 'zeroPoints?'] as const;
/** The high-level op behind {@link dequantizeBlocks}. Operands: packed, scales, zero points. */
export const DequantizeBlocks: Op<DequantizeBlocksAttrs, typeof names> = defineOp<DequantizeBlocksAttrs, typeof names>({
  key: 'onnxformers.DequantizeBlocks',
  operands: names,
  attributes: { bits: 'data', blockSize: 'data', columns: 'data', accuracyLevel: 'data' },
  infer([packed, scales, zeros], { bits, blockSize, columns }) {
    const { dtype } = accept(scales, 'float', 'the scales');
    const [rows] = packed?.dims ?? [];
    const blocks = ceilDivDims(columns, blockSize) as number;
    if (rows === undefined) throw mismatch('the packed weights are missing');
    const expect = (what: string, t: TensorType | undefined, wanted: string) => {
      if (printType(t) !== wanted) throw mismatch(`the ${what} do not fit`, wanted, printType(t));
    };
    expect('packed weights', packed, `uint8[${rows}, ${blocks}, ${(blockSize * bits) / 8}]`);
    expect('scales', scales, `${dtype}[${rows}, ${blocks}]`);
    if (zeros) expect('zero points', zeros, `uint8[${rows}, ${Math.ceil((blocks * bits) / 8)}]`);
    return [{ dtype, dims: [rows, columns] }];
  },
  decompose([packed, scales, zeros], { bits, blockSize, columns }, ops) {
    const [rows, blocks] = scales!.dims as [number, number];
    const { dtype } = scales!;
    const codes = ops.reshape(codesOf(packed!, bits, ops), [rows, blocks, blockSize]);
    const zero =
      zeros &&
      ops.slice(ops.reshape(codesOf(zeros, bits, ops), [rows, ((zeros.dims[1] as number) * 8) / bits, 1]), {
        axes: [1],
        starts: [0],
        ends: [blocks],
      });
    const steps = ops.cast(ops.sub(codes, zero ?? middleOf(bits)), dtype);
    const values = ops.reshape(ops.mul(steps, ops.unsqueeze(scales!, [2])), [rows, blocks * blockSize]);
    return [ops.slice(values, { axes: [1], starts: [0], ends: [columns] })];
  },
});

/** The code of 0 if there are no zero points. */
export const middleOf = (bits: CodeBits): number => 2 ** (bits - 1);

// The codes in each byte. Of 4 bits: its two halves, low half first, on a new last axis. In int32, for which every runtime has a division.
function codesOf(bytes: Value, bits: CodeBits, { cast, concat, div, mod, unsqueeze }: Vocabulary): Value {
  const wide = cast(bytes, 'int32');
  if (bits === 8) return wide;
  return concat(
    [mod(wide, 16), div(wide, 16)].map((v) => unsqueeze(v, [v.rank])),
    -1,
  );
}

/**
 * A matrix from blocks of codes along its rows: of 8 bits, or of 4 bits, two to a byte, low half first.
 *
 *     y[r, c] = (code[r, c] − zero[r, ⌊c / blockSize⌋]) · scale[r, ⌊c / blockSize⌋]
 *
 * Shapes   packed uint8 [rows, blocks, blockSize · bits / 8] · scales [rows, blocks] · zeroPoints uint8 [rows, ⌈blocks · bits / 8⌉], packed in
 *          the same way, or none: 2^(bits − 1) → [rows, columns]; blocks = ⌈columns / blockSize⌉
 * Dtypes   those of the scales
 * Throws   ShapeError when the operands do not fit
 * Lowers   portable: primitives · elsewhere: MatMulNBits or GatherBlockQuantized, with the product or the lookup that reads it
 */
export function dequantizeBlocks(packed: Operand, scales: Operand, zeroPoints: Operand, o: DequantizeBlocksAttrs): Value {
  given('dequantizeBlocks', { options: o }, { options: anObject });
  const { bits, blockSize, columns, accuracyLevel } = o;
  return apply(DequantizeBlocks, [packed, scales, zeroPoints], {
    bits,
    blockSize,
    columns,
    ...(accuracyLevel && { accuracyLevel }),
  })[0]!;
}
