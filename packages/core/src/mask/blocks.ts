// A layout of square blocks of queries and keys.
import { type Dim, mulDims } from '../dim/dim';
import { printType } from '../ir/define-op';
import { mismatch, type Value } from '../ir/graph';
import { expectCount, expectType, oneOr } from './check';
import { defineMask, type Mask } from './mask';
import { placeOf } from './places';

/** Options of a block mask. */
export interface BlocksOptions {
  readonly size: number;
}

/** The class of {@link blockLayout}. */
export const blocksMask = defineMask<'layout', BlocksOptions>({
  name: 'blocks',
  comparesPositions: true,
  ofSequences: () => true,
  check({ operands: { layout }, options: { size } }, { heads, seq, kvSeq }) {
    if (layout.dims.length !== 3)
      throw mismatch('a block layout does not have 3 axes', '[1 or heads, query blocks, key blocks]', printType(layout));
    expectType('block layout', layout, 'bool', [oneOr(layout.dims[0], heads), layout.dims[1]!, layout.dims[2]!]);
    for (const [what, rows, count] of [
      ['queries', seq, layout.dims[1]!],
      ['keys', kvSeq, layout.dims[2]!],
    ] as const)
      if (typeof rows === 'number' && typeof count === 'number' && rows > count * size)
        throw mismatch(`a block layout is too small for the ${what}`, `at most ${count * size}`, String(rows));
  },
  allows({ operands: { layout }, options: { size } }, { head, from, to }) {
    const [heads, rows, columns] = layout.dims as [number, number, number];
    const [row, column] = [Math.floor(from.position / size), Math.floor(to.position / size)];
    if (row < 0 || row >= rows || column >= columns) return false;
    return layout.data[((heads === 1 ? 0 : head) * rows + row) * columns + column] !== 0;
  },
  tensor({ operands: { layout }, options: { size } }, at) {
    const { add, div, gather, greaterOrEqual, less, logicalAnd, max, min, mul, reshape, sub, transpose } = at.graph.ops;
    const [heads, rows, columns] = layout.dims as [Dim, Dim, Dim];
    const [queries, keys] = [at.queryPositions(), at.keyPositions()];
    const [rowCount, columnCount] = [placeOf(at.graph, rows), placeOf(at.graph, columns)];
    const block = (positions: Value, count: Value): Value => min(max(div(positions, size), 0), sub(count, 1));
    const index = add(mul(block(queries, rowCount), columnCount), block(keys, columnCount));
    // Block numbers [1 or batch, 1, seq, kv_seq] → flags [heads, 1 or batch, seq, kv_seq] → [1 or batch, heads, seq, kv_seq]
    const [batch, , seq, kvSeq] = index.dims as [Dim, Dim, Dim, Dim];
    const flags = gather(reshape(layout, [heads, mulDims(rows, columns)]), reshape(index, [batch, seq, kvSeq]), 1);
    const inside = [greaterOrEqual(queries, 0), less(queries, mul(rowCount, size)), less(keys, mul(columnCount, size))];
    return [transpose(flags, [1, 0, 2, 3]), ...inside].reduce((a, b) => logicalAnd(a, b));
  },
  print: ({ options: { size } }) => `blocks of ${size}`,
});

/**
 * Blocks of `size` queries × `size` keys: query position p attends to key position t if `layout[h, ⌊p / size⌋, ⌊t / size⌋]`; bool [1 or heads, query blocks, key
 * blocks]. Positions beyond the layout attend to nothing. Positions are those of the batch: padding on the left counts.
 *
 * Source   Child et al. 2019, https://arxiv.org/abs/1904.10509
 *
 * @throws ShapeError for a size that is not a positive integer
 */
export function blockLayout<V>(layout: V, size: number): Mask<V> {
  expectCount('blockLayout', size, 1);
  return blocksMask({ operands: { layout }, options: { size } });
}
