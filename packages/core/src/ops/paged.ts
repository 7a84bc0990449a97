// Paged caches: keys and values in blocks of a pool that all sequences share; a block table assigns blocks to sequences.
import { mulDims } from '../dim/dim';
import { type Attrs, defineOp, noFlops, type Op, printType, type TensorType } from '../ir/define-op';
import { apply, mismatch, type Value } from '../ir/graph';
import type { NDArray } from '../tensor/tensor';
import { acceptAlike } from './accept';

const names = ['pool', 'rows', 'pastLengths', 'table'] as const;
/**
 * The high-level op behind {@link pagedAppend}. Operands: pool (a state, updated in place), rows, pastLengths, table. Outputs: all positions of the
 * table's blocks, and the updated pool.
 */
export const PagedAppend: Op<Attrs, typeof names> = defineOp<Attrs, typeof names>({
  key: 'onnxformers.PagedAppend',
  operands: names,
  flops: noFlops,
  attributes: {},
  writes: ['pool'],
  infer([pool, rows, pastLengths, table]) {
    const [p, r] = acceptAlike([pool, rows], 'any') as [TensorType, TensorType];
    if (p.dims.length !== 4)
      throw mismatch('the pool does not have 4 axes', '[blocks, block_size, kv_heads, head_dim]', printType(p));
    if (r.dims.length !== 4 || r.dims[1] !== p.dims[2] || r.dims[3] !== p.dims[3])
      throw mismatch('the new keys or values do not fit the pool', `[batch, ${p.dims[2]}, seq, ${p.dims[3]}]`, printType(r));
    const batch = r.dims[0]!;
    if (printType(pastLengths) !== `int64[${batch}]`)
      throw mismatch('past_lengths do not fit', `int64[${batch}]`, printType(pastLengths));
    if (table?.dtype !== 'int32' || table.dims.length !== 2 || table.dims[0] !== batch)
      throw mismatch('the block table does not fit', `int32[${batch}, blocks]`, printType(table));
    return [{ dtype: p.dtype, dims: [batch, p.dims[2]!, mulDims(table.dims[1]!, p.dims[1]!), p.dims[3]!] }, p];
  },
  evaluate: ([pool, rows, pastLengths, table]) => appended(pool!, rows!, pastLengths!, table!),
  vjp: 'nonDifferentiable',
});

function appended(pool: NDArray, rows: NDArray, pastLengths: NDArray, table: NDArray): readonly NDArray[] {
  const [blocks, blockSize, heads, width] = pool.dims as [number, number, number, number];
  const [batch, , seq] = rows.dims as [number, number, number];
  const perSequence = table.dims[1]!;
  // The offset of a position in the pool; undefined if its block is not assigned.
  const placeOf = (b: number, row: number): number | undefined => {
    const block = table.data[b * perSequence + Math.floor(row / blockSize)]!;
    return block >= 0 && block < blocks ? (block * blockSize + (row % blockSize)) * heads * width : undefined;
  };
  const data = pool.data.slice();
  const capacity = perSequence * blockSize;
  const all = new Float64Array(batch * heads * capacity * width);
  for (let b = 0; b < batch; b++) {
    for (let i = 0; i < seq; i++) {
      const row = pastLengths.data[b]! + i;
      const place = row >= 0 && row < capacity ? placeOf(b, row) : undefined;
      if (place === undefined)
        throw mismatch(
          'a position has no block',
          `rows 0 to ${capacity - 1} in blocks 0 to ${blocks - 1}`,
          `row ${row} of sequence ${b}`,
        );
      for (let h = 0; h < heads; h++) {
        const from = ((b * heads + h) * seq + i) * width;
        data.set(rows.data.subarray(from, from + width), place + h * width);
      }
    }
    for (let row = 0; row < capacity; row++) {
      const place = placeOf(b, row);
      if (place === undefined) continue;
      for (let h = 0; h < heads; h++)
        all.set(data.subarray(place + h * width, place + (h + 1) * width), ((b * heads + h) * capacity + row) * width);
    }
  }
  return [
    { dtype: pool.dtype, dims: [batch, heads, capacity, width], data: all },
    { ...pool, data },
  ];
}

/**
 * Writes new keys or values into the blocks of their sequences, in place, and returns all positions of these blocks in order. Positions
 * after the cached and the new ones are undefined.
 *
 * Shapes   pool [blocks, block_size, kv_heads, head_dim] (a state) · rows [batch, kv_heads, seq, head_dim] · pastLengths int64 [batch], the positions
 *          in use · table int32 [batch, n], the blocks of each sequence in order → [batch, kv_heads, n · block_size, head_dim]
 * Throws   ShapeError when they do not fit
 * Source   Kwon et al. 2023, https://arxiv.org/abs/2309.06180
 * Lowers   cuda: PagedAttention, with the attention that reads it · elsewhere: no kernel
 */
export function pagedAppend(pool: Value, rows: Value, pastLengths: Value, table: Value): Value {
  return apply(PagedAppend, [pool, rows, pastLengths, table], {})[0]!;
}
