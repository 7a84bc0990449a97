import { expect, test } from 'vitest';
import { interpret } from '../interpret/interpret';
import type { NDArray } from '../tensor/tensor';
import { pagedAppend } from './paged';
import { GraphBuilder } from './vocabulary';

const array = (dtype: NDArray['dtype'], dims: readonly number[], values: readonly number[]): NDArray => ({
  dtype,
  dims,
  data: Float64Array.from(values),
});

// Pools of 3 blocks of 2 rows, one head of one channel; two sequences.
function build() {
  const g = new GraphBuilder();
  const rows = g.input('rows', 'float32', ['batch', 1, 'seq', 1]);
  const pastLengths = g.input('past_lengths', 'int64', ['batch']);
  const table = g.input('table', 'int32', ['batch', 'blocks']);
  g.output('all', pagedAppend(g.state('pool', 'float32', [3, 2, 1, 1], 0), rows, pastLengths, table));
  return g.finish();
}

test('keys are written to the blocks of their sequence and read back in order', () => {
  const graph = build();
  const states = new Map<string, NDArray>();
  const call = (rows: NDArray, pastLengths: readonly number[], table: readonly (readonly number[])[]): number[] => {
    const feeds = {
      rows,
      past_lengths: array('int64', [pastLengths.length], pastLengths),
      table: array('int32', [table.length, table[0]!.length], table.flat()),
    };
    return [...interpret(graph, feeds, { states }).all!.data];
  };
  expect(call(array('float32', [2, 1, 2, 1], [1, 2, 7, 8]), [0, 0], [[2], [0]])).toEqual([1, 2, 7, 8]);
  expect([...states.get('pool')!.data]).toEqual([7, 8, 0, 0, 1, 2]);
  // The first sequence alone, into a second block; a block that is none gives zeros.
  expect(call(array('float32', [1, 1, 1, 1], [3]), [2], [[2, 1, -1]])).toEqual([1, 2, 3, 0, 0, 0]);
  expect([...states.get('pool')!.data]).toEqual([7, 8, 3, 0, 1, 2]);
  // A row that is written again is replaced.
  expect(call(array('float32', [1, 1, 2, 1], [5, 6]), [1], [[2, 1]])).toEqual([1, 5, 6, 0]);
  expect(() => call(array('float32', [1, 1, 2, 1], [5, 6]), [3], [[2, 1]])).toThrow(
    'a position has no block; expected rows 0 to 3 in blocks 0 to 2, got row 4 of sequence 0',
  );
});

test('operands that do not fit are named', () => {
  const g = new GraphBuilder();
  const pool = g.state('pool', 'float32', [3, 2, 5, 7], 0);
  const [rows, other] = [g.input('rows', 'float32', ['batch', 5, 'seq', 7]), g.input('other', 'float32', ['batch', 3, 'seq', 7])];
  const [pastLengths, table] = [g.input('past_lengths', 'int64', ['batch']), g.input('table', 'int64', ['batch', 4])];
  expect(() => pagedAppend(pool, other, pastLengths, table)).toThrow(
    'the new keys or values do not fit the pool; expected [batch, 5, seq, 7]',
  );
  expect(() => pagedAppend(pool, rows, pastLengths, table)).toThrow(
    'the block table does not fit; expected int32[batch, blocks], got int64[batch, 4]',
  );
  expect(() => pagedAppend(pool, rows, table, table)).toThrow('past_lengths do not fit; expected int64[batch]');
});
