// Quantised weights: blocks of 4-bit integers, each block with a scale.
import { ceilDivDims } from '../dim/dim';
import { anObject, given } from '../given';
import { defineOp, type Op, printType, type TensorType } from '../ir/define-op';
import { apply, mismatch, type Operand, type Value, type Vocabulary } from '../ir/graph';
import { accept } from './accept';

/** Attributes of {@link DequantizeBlocks}. */
export type DequantizeBlocksAttrs = { readonly blockSize: number; readonly columns: number };

const names = ['packed', 'scales', 'zeroPoints?'] as const;
/** The high-level op behind {@link dequantizeBlocks}. Operands: packed, scales, zero points. */
export const DequantizeBlocks: Op<DequantizeBlocksAttrs, typeof names> = defineOp<DequantizeBlocksAttrs, typeof names>({
  key: 'onnxformers.DequantizeBlocks',
  operands: names,
  attributes: { blockSize: 'data', columns: 'data' },
  infer([packed, scales, zeros], { blockSize, columns }) {
    const { dtype } = accept(scales, 'float', 'the scales');
    const [rows] = packed?.dims ?? [];
    const blocks = ceilDivDims(columns, blockSize) as number;
    if (rows === undefined) throw mismatch('the packed weights are missing');
    const expect = (what: string, t: TensorType | undefined, wanted: string) => {
      if (printType(t) !== wanted) throw mismatch(`the ${what} do not fit`, wanted, printType(t));
    };
    expect('packed weights', packed, `uint8[${rows}, ${blocks}, ${blockSize / 2}]`);
    expect('scales', scales, `${dtype}[${rows}, ${blocks}]`);
    if (zeros) expect('zero points', zeros, `uint8[${rows}, ${Math.ceil(blocks / 2)}]`);
    return [{ dtype, dims: [rows, columns] }];
  },
  decompose([packed, scales, zeros], { blockSize, columns }, ops) {
    const [rows, blocks] = scales!.dims as [number, number];
    const { dtype } = scales!;
    const codes = ops.reshape(halves(packed!, ops), [rows, blocks, blockSize]);
    const zero =
      zeros &&
      ops.slice(ops.reshape(halves(zeros, ops), [rows, 2 * (zeros.dims[1] as number), 1]), {
        axes: [1],
        starts: [0],
        ends: [blocks],
      });
    const steps = ops.cast(ops.sub(codes, zero ?? middle), dtype);
    const values = ops.reshape(ops.mul(steps, ops.unsqueeze(scales!, [2])), [rows, blocks * blockSize]);
    return [ops.slice(values, { axes: [1], starts: [0], ends: [columns] })];
  },
});

/** The code of 0 if there are no zero points. */
const middle = 8;

// The two halves of each byte, low half first, on a new last axis. In int32, for which every runtime has a division.
function halves(bytes: Value, { cast, concat, div, mod, unsqueeze }: Vocabulary): Value {
  const wide = cast(bytes, 'int32');
  return concat(
    [mod(wide, 16), div(wide, 16)].map((v) => unsqueeze(v, [v.rank])),
    -1,
  );
}

/**
 * A matrix from blocks of 4-bit codes along its rows, two to a byte, low half first.
 *
 *     y[r, c] = (code[r, c] − zero[r, ⌊c / blockSize⌋]) · scale[r, ⌊c / blockSize⌋]
 *
 * Shapes   packed uint8 [rows, blocks, blockSize / 2] · scales [rows, blocks] · zeroPoints uint8 [rows, ⌈blocks / 2⌉], two to a byte, or
 *          none: 8 → [rows, columns]; blocks = ⌈columns / blockSize⌉
 * Dtypes   those of the scales
 * Throws   ShapeError when the operands do not fit
 * Lowers   portable: primitives · elsewhere: MatMulNBits or GatherBlockQuantized, with the product or the lookup that reads it
 */
export function dequantizeBlocks(
  packed: Operand,
  scales: Operand,
  zeroPoints: Operand,
  o: { readonly blockSize: number; readonly columns: number },
): Value {
  given('dequantizeBlocks', { options: o }, { options: anObject });
  return apply(DequantizeBlocks, [packed, scales, zeroPoints], { blockSize: o.blockSize, columns: o.columns })[0]!;
}
