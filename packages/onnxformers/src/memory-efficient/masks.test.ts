// Sequences packed and split, and what the classes refuse.
import { tensor } from '@onnxformers/core';
import { describe, expect, it } from 'vitest';
import {
  BlockDiagonalCausalFromBottomRightMask,
  BlockDiagonalCausalMask,
  BlockDiagonalCausalWithOffsetGappyKeysMask,
  BlockDiagonalGappyKeysMask,
  BlockDiagonalMask,
  BlockDiagonalPaddedKeysMask,
  LocalAttentionFromBottomRightMask,
  LowerTriangularFromBottomRightMask,
  LowerTriangularMask,
  LowerTriangularMaskWithTensorBias,
  PagedBlockDiagonalCausalWithOffsetPaddedKeysMask,
  PagedBlockDiagonalGappyKeysMask,
  PagedBlockDiagonalPaddedKeysMask,
} from './index';

const counted = (...dims: number[]) => {
  const count = dims.reduce((a, b) => a * b, 1);
  return tensor(
    'float32',
    dims,
    Array.from({ length: count }, (_, i) => i),
  );
};
const numbers = (t: { readonly data: ArrayLike<number | bigint> }) => Array.from(t.data, Number);

describe('packing', () => {
  it('splits what it has packed', () => {
    const list = [counted(2, 3, 2), counted(1, 5, 2), counted(3, 1, 2)];
    const [mask, joined] = BlockDiagonalMask.fromTensorList(list);
    expect(joined.dims).toEqual([1, 14, 2]);
    expect(mask.queries.lengths).toEqual([3, 3, 5, 1, 1, 1]);
    expect(mask.split(joined)).toEqual(list);
    expect(mask.makeCausal().split(joined)).toEqual(list);
    expect(BlockDiagonalCausalMask.fromTensorList(list)[0].makeLocalAttention(2).split(joined)).toEqual(list);
  });
  it('splits queries and keys of different lengths', () => {
    const [q, k] = [
      [counted(2, 3, 1), counted(1, 2, 1)],
      [counted(2, 5, 1), counted(1, 4, 1)],
    ] as const;
    const [mask, queries, keys, values] = BlockDiagonalMask.fromTensorListsQkv(q, k, k);
    expect(mask.splitQueries(queries)).toEqual(q);
    expect(mask.splitKv(keys)).toEqual(k);
    expect(values).toEqual(keys);
    expect(() => mask.split(queries)).toThrow('queries and keys have different lengths');
    expect(() => mask.splitQueries(keys)).toThrow('expected [1, 8, …], got [1, 14, 1]');
  });
  it('keeps the element type', () => {
    const half = tensor('float16', [1, 2, 1], [1, 2]);
    const [mask, joined] = BlockDiagonalMask.fromTensorList([half, half]);
    expect(joined.data).toBeInstanceOf(Uint16Array);
    expect(mask.split(joined)).toEqual([half, half]);
  });
  it('knows equal lengths of keys, whether they are given or not', () =>
    expect(BlockDiagonalMask.fromSeqlens([2, 3], [2, 3]).mask).toEqual(BlockDiagonalMask.fromSeqlens([2, 3]).mask));
});

describe('a bias', () => {
  const bias = tensor('float32', [2, 2], [1, 2, Number.NEGATIVE_INFINITY, 4]);
  it('is added where the mask allows', () => {
    const expected = [1, Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY, 4];
    expect(numbers(new LowerTriangularMaskWithTensorBias(bias).materialize([2, 2]))).toEqual(expected);
    expect(numbers(new LowerTriangularMask().addBias(bias).materialize([1, 2, 2, 2]))).toEqual([...expected, ...expected]);
  });
  it('goes with packed sequences, which can still be split', () => {
    const mask = BlockDiagonalMask.fromSeqlens([1, 1]).addBias(tensor('float32', [1, 3, 1, 2], [1, 2, 3, 4, 5, 6]));
    const hidden = Number.NEGATIVE_INFINITY;
    expect(numbers(mask.materialize([1, 3, 2, 2]))).toEqual([1, hidden, hidden, 2, 3, hidden, hidden, 4, 5, hidden, hidden, 6]);
    expect(mask.split(counted(1, 2, 3)).map((t) => t.dims)).toEqual([
      [1, 1, 3],
      [1, 1, 3],
    ]);
  });
  it.each([
    [() => new LowerTriangularMask().addBias(bias).addBias(bias), 'LowerTriangularMask.addBias: there is a bias already'],
    [() => new LowerTriangularMask().addBias(3 as never), 'not a bias; expected a float tensor, got 3'],
    [() => new LowerTriangularMask().addBias(counted(3)), 'expected [batch, heads, queries, keys], got [3]'],
    [() => PagedBlockDiagonalPaddedKeysMask.fromSeqlens([1], [1], [[0]], 2).addBias(), 'keys in pages cannot have a bias'],
  ])('refuses others (%#)', (make, message) => expect(make).toThrow(message));
});

describe('pages', () => {
  const tables = [
    [3, -1],
    [1, 0],
  ];
  it('that no key needs may have any number', () =>
    expect(Array.from(PagedBlockDiagonalPaddedKeysMask.fromSeqlens([1, 1], [2, 3], tables, 2).pages.table.data, Number)).toEqual([
      3, 0, 1, 0,
    ]));
  it('may be shared by sequences', () => {
    const mask = PagedBlockDiagonalCausalWithOffsetPaddedKeysMask.fromSeqlens(
      [1, 2],
      [2, 3],
      [
        [1, 0],
        [1, 2],
      ],
      2,
    );
    const rows = numbers(mask.materialize([3, 6])).map((x) => (x === 0 ? '#' : '.'));
    expect(rows.join('')).toBe('..##..' + '..##..' + '..###.');
    expect(mask.splitQueries(counted(1, 3, 2)).map((t) => t.dims)).toEqual([
      [1, 1, 2],
      [1, 2, 2],
    ]);
  });
});

describe('refusals', () => {
  it.each([
    [() => BlockDiagonalMask.fromSeqlens([1, -1]), 'BlockDiagonalMask.fromSeqlens.qSeqlens: not a list of counts'],
    [() => BlockDiagonalMask.fromSeqlens(7 as never), 'expected integers of at least 0, got 7'],
    [() => BlockDiagonalMask.fromSeqlens([1], [1, 2]), 'BlockDiagonalMask.kvSeqlens: not one entry for each sequence'],
    [() => BlockDiagonalMask.fromTensorList([]), 'no tensors'],
    [() => BlockDiagonalMask.fromTensorList([counted(1, 2, 3), counted(1, 2, 4)]), 'expected float32 [batch, seq, 3]'],
    [() => BlockDiagonalMask.fromTensorListsQkv([counted(1, 2)], [counted(2, 2)], [counted(2, 2)]), 'do not fit each other'],
    [() => BlockDiagonalCausalFromBottomRightMask.fromSeqlens([1, 3], [1, 2]), 'kvSeqlens[1]: fewer keys than queries'],
    [() => BlockDiagonalMask.fromSeqlens([5], [2]).makeLocalAttention(3), 'expected more than 3, got 3'],
    [() => BlockDiagonalMask.fromSeqlens([5]).makeLocalAttention(0), 'not a window; expected an integer of at least 1'],
    [() => new LowerTriangularFromBottomRightMask().makeLocalAttention(1.5), 'not a window'],
    [() => new LocalAttentionFromBottomRightMask(-1, 0), 'windowLeft: not a bound of a window'],
    [
      () => BlockDiagonalPaddedKeysMask.fromSeqlens([1], 2, [3]),
      'longer than the space of a sequence; expected at most 2, got 3',
    ],
    [() => BlockDiagonalPaddedKeysMask.fromSeqlens([1], 2, [1]).makeLocalAttention(0, -2), 'windowRight: not a bound'],
    [() => BlockDiagonalGappyKeysMask.fromSeqlens([1, 1], [0, 2], [1, 1]), 'starts: not one entry for each sequence; expected 3'],
    [() => BlockDiagonalGappyKeysMask.fromSeqlens([1, 1], [0, 2, 4], [3, 1]), 'does not end before the next one starts'],
    [() => BlockDiagonalCausalWithOffsetGappyKeysMask.fromSeqlens([1, 1], [3, 2, 4], [1, 1]), 'expected at most 0, got 1'],
    [() => BlockDiagonalGappyKeysMask.fromSeqlens([1], [0, 4], [4]).makePaged([[0]], 3, 4), 'expected a multiple of 3, got 4'],
    [() => PagedBlockDiagonalPaddedKeysMask.fromSeqlens([1], [5], [[0, 1]], 2), 'longer than the space'],
    [() => PagedBlockDiagonalPaddedKeysMask.fromSeqlens([1], [3], [[0, -1]], 2), 'blockTables[0]: not a list of counts'],
    [
      () => PagedBlockDiagonalPaddedKeysMask.fromSeqlens([1, 1], [1, 1], [[0]], 2),
      'blockTables: not one entry for each sequence',
    ],
    [() => PagedBlockDiagonalPaddedKeysMask.fromSeqlens([1, 1], [1, 1], [[0], [1, 2]], 2), 'blockTables[1]'],
    [() => PagedBlockDiagonalPaddedKeysMask.fromSeqlens([1], [1], [[0]], 0), 'not a page size'],
    [() => PagedBlockDiagonalGappyKeysMask.fromSeqlens([1], [1], [2], [[0]], 2), 'the keys of the sequence are not in its pages'],
  ])('%#', (make, message) => expect(make).toThrow(message));
});
