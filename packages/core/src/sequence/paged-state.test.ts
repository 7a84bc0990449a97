import { describe, expect, it } from 'vitest';
import { GraphBuilder } from '../ops/vocabulary';
import type { NDArray } from '../tensor/tensor';
import { computeDerived } from './derive';
import { pagedState, tableDim } from './paged-state';

const pool = { blocks: 7, blockSize: 16 };
const made = (pastLengths: readonly number[], seq: number, columns: number | string = tableDim): NDArray => {
  const sizes = (d: number | string): number =>
    typeof d === 'number' ? d : ({ batch: pastLengths.length, seq } as Record<string, number>)[d]!;
  const rows: NDArray = { dtype: 'int64', dims: [pastLengths.length], data: Float64Array.from(pastLengths) };
  return computeDerived('blockTable', [rows], sizes, { dtype: 'int32', dims: ['batch', columns] }, 'seq', pool)!;
};

describe('the block table that the runner makes', () => {
  it('assigns the same number of blocks to every sequence, in a table as wide as the longest needs', () => {
    expect([...made([0, 0], 14).data]).toEqual([0, 3]);
    expect([...made([14, 16], 1).data]).toEqual([0, 1, 3, 4]);
    expect(made([47], 1).dims).toEqual([1, 3]);
    expect([...made([0, 0, 0], 17).data]).toEqual([0, 1, 2, 3, 4, 5]);
  });
  it('has the width that the graph requires', () => {
    expect([...made([0, 0], 1, 3).data]).toEqual([0, 1, 2, 3, 4, 5]);
  });
  it('refuses tokens without room in the pool', () => {
    expect(() => made([48, 3], 1)).toThrow(
      'the pool has too few blocks for the new tokens; expected at most 3 of the 7 blocks for each of 2 sequences, 16 positions in each, got 4 blocks',
    );
    expect(() => made([0, 0], 1, 4)).toThrow('the pool has too few blocks for the new tokens');
    expect(() => made([-1, 3], 1)).toThrow('a negative number of positions');
  });
});

it.each([
  [{ blocks: 0, blockSize: 16 }, 'state.paged.blocks: not a number of blocks'],
  [{ blocks: 7, blockSize: 8 }, 'state.paged.blockSize: not a block size'],
  [{ blocks: 7, blockSize: 24 }, 'state.paged.blockSize: not a block size'],
])('%o is refused', (sizes, message) => {
  expect(() => pagedState(new GraphBuilder(), { batch: 1, seq: 1 }, sizes)).toThrow(message);
});
