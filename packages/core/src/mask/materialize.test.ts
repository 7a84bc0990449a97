import { describe, expect, it } from 'vitest';
import { ShapeError } from '../error';
import { tensor } from '../tensor/convert';
import {
  and,
  blockLayout,
  causal,
  dilated,
  documents,
  globalTokens,
  keyLengths,
  materialize,
  prefix,
  randomPairs,
} from './index';

describe('materialize', () => {
  it('has an element for each pair', () => {
    const keep = materialize(and(causal, keyLengths(tensor('int64', [2], [3, 1]))), { batch: 2, heads: 3, seq: 2, kvSeq: 3 });
    expect(keep.dtype).toBe('bool');
    expect(keep.dims).toEqual([2, 3, 2, 3]);
    const heads = (...rows: number[]): number[] => [...rows, ...rows, ...rows];
    expect(Array.from(keep.data, Number)).toEqual([...heads(1, 1, 0, 1, 1, 1), ...heads(1, 0, 0, 1, 0, 0)]);
  });
  it('counts from queryOffset', () => {
    const keep = materialize(causal, { seq: 1, kvSeq: 3, queryOffset: tensor('int64', [1], [1]) });
    expect(Array.from(keep.data, Number)).toEqual([1, 1, 0]);
  });
  it('refuses data that does not fit', () => {
    expect(() => materialize(keyLengths(tensor('int64', [3], [1, 1, 1])), { batch: 2, seq: 2 })).toThrow(ShapeError);
    expect(() => materialize(keyLengths(tensor('int64', [3], [1, 1, 1])), { batch: 2, seq: 2 })).toThrow(
      'materialize: lengths mask has the wrong dims; expected [2], got int64[3]',
    );
    const offsets = tensor('int64', [4], [0, 1, 1, 5]);
    expect(() => materialize(and(documents(offsets), keyLengths(tensor('int64', [1], [2]))), { seq: 5 })).toThrow('[3]');
    expect(() => materialize(blockLayout(tensor('bool', [1, 2, 2], [1, 1, 1, 1]), 2), { seq: 5 })).toThrow(
      'a block layout is too small for the queries; expected at most 4, got 5',
    );
  });
});

it.each([
  () => globalTokens([2, -1]),
  () => randomPairs(0.5, -1),
  () => dilated(0),
  () => dilated(1.5),
  () => prefix(-1),
  () => globalTokens(Number.NaN),
  () => blockLayout('layout', 0),
])('a number that is not a count is refused (%#)', (make) =>
  expect(make).toThrow('not a count; expected an integer of at least'),
);
