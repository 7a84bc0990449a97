// Embedding lookup in a table in blocks of codes: only the rows that are looked up are dequantised.
import { type Dim, mulDims } from '../dim/dim';
import { defineOp, type NamedOperands, type Op, operandsOf, printType } from '../ir/define-op';
import { apply, madeBy, mismatch, type Node, type Value } from '../ir/graph';
import { reasons } from '../lower/reasons';
import { type Get, refuse, rule } from '../lower/rule';
import { gather } from '../ops/gather';
import { reshape, slice } from '../ops/movement';
import { type CodeBits, DequantizeBlocks, type DequantizeBlocksAttrs, dequantizeBlocks } from '../ops/quantized';
import { Gather } from '../ops/select';

type GatherBlockQuantizedAttrs = {
  readonly gather_axis: number;
  readonly quantize_axis: number;
  readonly block_size: number;
  readonly bits: CodeBits;
};

const names = ['packed', 'ids', 'scales', 'zeroPoints?'] as const;
/** The kernel of com.microsoft. Operands: packed uint8 [rows, blocks · block_size · bits / 8], ids, scales [rows, blocks], zero points uint8 [rows, ⌈blocks · bits / 8⌉] or none. */
export const GatherBlockQuantized: Op<GatherBlockQuantizedAttrs, typeof names> = defineOp<
  GatherBlockQuantizedAttrs,
  typeof names
>({
  key: 'com.microsoft.GatherBlockQuantized',
  operands: names,
  attributes: { gather_axis: 'int', quantize_axis: 'int', block_size: 'int', bits: 'int' },
  form: ({ bits, block_size }) => `bits=${bits} block_size=${block_size}`,
  asks: ([, ids, , zeroPoints], { bits }) => ({
    'rank of the ids': ids!.dims.length,
    'zero points': !!zeroPoints,
    '8 bits': bits === 8,
  }),
  infer(given, { bits, block_size }) {
    const { packed, ids, scales } = operandsOf(names, given);
    const blocks = scales.dims[1];
    if (typeof blocks !== 'number' || packed.dims[1] !== (blocks * block_size * bits) / 8)
      throw mismatch(
        'the packed rows do not fit the scales',
        `blocks of ${block_size}`,
        `${printType(packed)}, ${printType(scales)}`,
      );
    return [{ dtype: scales.dtype, dims: [...ids.dims, blocks * block_size] }];
  },
  decompose(given, { bits, block_size }) {
    const { packed, ids, scales, zeroPoints } = operandsOf(names, given);
    const [rows, blocks] = scales.dims as [number, number];
    const blocked = reshape(packed, [rows, blocks, (block_size * bits) / 8]);
    const attrs = { bits, blockSize: block_size, columns: blocks * block_size };
    return [rowsOf({ packed: blocked, scales, zeroPoints }, ids, attrs)];
  },
});

/** The operands of DequantizeBlocks. */
type Packed = NamedOperands<typeof DequantizeBlocks.operands & {}, Value>;

// The codes of the rows are looked up, then dequantised.
function rowsOf({ packed, scales, zeroPoints }: Packed, ids: Value, o: DequantizeBlocksAttrs): Value {
  const flat = reshape(ids, [ids.dims.reduce((a: Dim, b) => mulDims(a, b), 1)]);
  const rows = (table: Value): Value => gather(table, flat, 0);
  return reshape(dequantizeBlocks(rows(packed), rows(scales), zeroPoints && rows(zeroPoints), o), [...ids.dims, o.columns]);
}

/** The packed table that a Gather of whole rows reads. */
function tableOf({ operands: [table], attrs: { axis } }: Node<{ readonly axis: number }>) {
  const blocks = madeBy(table, DequantizeBlocks);
  return blocks && axis === 0 ? blocks : undefined;
}

const made = ({ packed, scales, zeroPoints }: Packed, get: Get): Packed => ({
  packed: get(packed),
  scales: get(scales),
  zeroPoints: zeroPoints && get(zeroPoints),
});

/** Gather of rows of a table made by DequantizeBlocks → GatherBlockQuantized. */
export const useGatherBlockQuantized = rule('Gather(DequantizeBlocks) → GatherBlockQuantized', Gather, (node) => {
  const blocks = tableOf(node);
  if (!blocks) return undefined;
  const { bits, blockSize, columns } = blocks.attrs;
  const table = operandsOf(DequantizeBlocks, blocks.operands);
  const [rows, count] = table.scales.dims;
  if (typeof rows !== 'number' || typeof count !== 'number')
    return refuse(reasons.sizeUnknown({ size: 'rows and columns of the table' }));
  return {
    covers: node.outputs,
    emit(get) {
      const { packed, scales, zeroPoints } = made(table, get);
      const flat = reshape(packed, [rows, (count * blockSize * bits) / 8]);
      const ids = get(operandsOf(Gather, node.operands).indices);
      const attrs = { gather_axis: 0, quantize_axis: 1, block_size: blockSize, bits };
      const y = apply(GatherBlockQuantized, { packed: flat, ids, scales, zeroPoints }, attrs)[0]!;
      return [slice(y, { axes: [-1], starts: [0], ends: [columns] })];
    },
  };
});

/** Gather of rows of a table made by DequantizeBlocks → DequantizeBlocks of the rows' codes. */
export const unpackRows = rule('Gather(DequantizeBlocks) → DequantizeBlocks(Gather)', Gather, (node) => {
  const blocks = tableOf(node);
  if (!blocks) return undefined;
  return {
    covers: node.outputs,
    cost: 1, // more than the kernel, which does the same in one step
    emit(get) {
      const table = made(operandsOf(DequantizeBlocks, blocks.operands), get);
      return [rowsOf(table, get(operandsOf(Gather, node.operands).indices), blocks.attrs)];
    },
  };
});
