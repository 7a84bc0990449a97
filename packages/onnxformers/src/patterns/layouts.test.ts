import { blockLayout, causal, materialize, ShapeError, type Tensor, tensor } from '@onnxformers/core';
import { describe, expect, it } from 'vitest';
import {
  alibiPattern,
  bigBirdLayout,
  denseLayout,
  fixedLayout,
  fromPattern,
  gridGaussian,
  layoutOf,
  longformerLayout,
  patternFrom,
  patternNames,
  patternOf,
  samplePairs,
  variableLayout,
} from './index';

const rowsOf = ({ dims, data }: Tensor, head = 0): string[] => {
  const [, rows, columns] = dims as [number, number, number];
  const row = (i: number) => Array.from(data as Uint8Array).slice((head * rows + i) * columns, (head * rows + i + 1) * columns);
  return Array.from({ length: rows }, (_, i) => row(i).join(''));
};
const o = { seqLen: 42, blockSize: 7, heads: 3 };

describe('layouts', () => {
  it('fixed: windows, and the last block of each is global', () => {
    expect(rowsOf(fixedLayout({ ...o, localBlocks: 2 }))).toEqual(['110101', '110101', '011101', '011101', '010111', '010111']);
    expect(rowsOf(fixedLayout({ ...o, localBlocks: 2, direction: 'unidirectional' }))).toEqual([
      '100000',
      '110000',
      '011000',
      '011100',
      '010110',
      '010111',
    ]);
  });
  it('fixed: each head has other global blocks', () => {
    const layout = fixedLayout({ ...o, localBlocks: 3, perHead: true, globalPatterns: 3 });
    expect([0, 1, 2].map((head) => rowsOf(layout, head)[0])).toEqual(['111001', '111010', '111100']);
  });
  it('variable: the last size is repeated', () => {
    expect(rowsOf(variableLayout({ ...o, windows: [1, 2], globalIndices: [] }))).toEqual([
      '100000',
      '011000',
      '011000',
      '000110',
      '000110',
      '000001',
    ]);
  });
  it('longformer: a band and ranges of global blocks', () => {
    expect(rowsOf(longformerLayout({ ...o, globalIndices: [3], globalEnds: [5] }))).toEqual([
      '110110',
      '111110',
      '011110',
      '111111',
      '111111',
      '000111',
    ]);
  });
  it.each(['bidirectional', 'unidirectional'] as const)(
    'big bird, %s: so many random blocks beside the band and the first',
    (direction) => {
      const given = { ...o, randomBlocks: 3, direction, perHead: true };
      const layout = bigBirdLayout({ ...given, seed: 1 });
      const plain = bigBirdLayout({ ...given, randomBlocks: 0 });
      const later = (row: string, i: number) => row.slice(i + 1).includes('1');
      for (let head = 0; head < 3; head++) {
        const rows = rowsOf(layout, head);
        rows.forEach((row, i) => {
          const fixed = rowsOf(plain, head)[i]!;
          expect([...fixed].every((flag, j) => flag <= row[j]!)).toBe(true);
          expect([...row].filter((flag, j) => flag > fixed[j]!).length).toBeLessThanOrEqual(3);
          if (direction === 'unidirectional') expect(later(row, i)).toBe(false);
        });
      }
      expect(new Set([0, 1, 2].map((head) => rowsOf(layout, head).join())).size).toBeGreaterThan(1);
      expect(bigBirdLayout({ ...given, seed: 1 })).toEqual(layout);
      expect(bigBirdLayout({ ...given, seed: 2 })).not.toEqual(layout);
    },
  );
  it('have one layout for all heads by default', () => {
    const layout = bigBirdLayout({ ...o, seed: 5 });
    expect(rowsOf(layout, 2)).toEqual(rowsOf(layout, 0));
    expect(rowsOf(denseLayout(o))).toEqual(new Array(6).fill('111111'));
  });

  it.each([
    [() => denseLayout({ ...o, seqLen: 41 }), /denseLayout.seqLen: .* expected a multiple of blockSize = 7, got 41/],
    [() => fixedLayout({ ...o, localBlocks: 5, globalBlocks: 2 }), /fixedLayout.localBlocks/],
    [() => fixedLayout({ ...o, direction: 'sideways' as never }), /fixedLayout.direction/],
    [() => fixedLayout({ ...o, horizontalGlobal: true, direction: 'unidirectional' }), /fixedLayout.horizontalGlobal/],
    [() => fixedLayout({ ...o, globalPatterns: 2 }), /fixedLayout.globalPatterns: all heads have the same layout/],
    [() => fixedLayout({ ...o, globalPatterns: 5, perHead: true }), /fixedLayout.globalPatterns: more patterns than places/],
    [() => variableLayout({ ...o, globalIndices: [0, 2], globalEnds: [1] }), /variableLayout.globalEnds: another number of ends/],
    [() => variableLayout({ ...o, globalIndices: [2], globalEnds: [2] }), /variableLayout.globalEnds: an empty range/],
    [
      () => bigBirdLayout({ ...o, windowBlocks: 9 }),
      /bigBirdLayout.windowBlocks: more than there are blocks; expected at most 6, got 9/,
    ],
    [() => layoutOf(tensor('bool', [4, 6], new Array(24).fill(1)), 4), /layoutOf/],
    [() => layoutOf(tensor('bool', [4, 4], new Array(16).fill(1)), 0), /layoutOf.blockSize: not a count/],
    [() => patternOf(tensor('float32', [1, 1], [0.5]), 4), /patternOf: not flags; expected a bool tensor, got float32 \[1, 1\]/],
    [() => fixedLayout({ ...o, localBlocks: 1.5, globalBlocks: 0.5 }), /fixedLayout.localBlocks: .* at least 1, got 1.5/],
    [() => bigBirdLayout({ ...o, windowBlocks: -1 }), /bigBirdLayout.windowBlocks: .* at least 0, got -1/],
    [() => longformerLayout({ ...o, globalIndices: [0, -1] }), /longformerLayout.globalIndices\[1\]: .* got -1/],
  ])('refuse what does not fit: %s', (make, message) => {
    expect(make).toThrow(ShapeError);
    expect(make).toThrow(message);
  });
});

describe('patterns', () => {
  it('and layouts are converted into each other', () => {
    const layout = bigBirdLayout({ ...o, seed: 3, perHead: true });
    const pattern = patternOf(layout, 7);
    expect(pattern.dims).toEqual([3, 42, 42]);
    expect(layoutOf(pattern, 7)).toEqual(layout);
    const sizes = { seq: 42, heads: 3 };
    expect(materialize(fromPattern(pattern), sizes)).toEqual(materialize(blockLayout(layout, 7), sizes));
    expect(rowsOf({ ...layoutOf(materialize(causal, { seq: 12 }), 4), dims: [1, 3, 3] })).toEqual(['100', '110', '111']);
  });
  it('serve shorter sequences, and refuse longer ones', () => {
    const mask = fromPattern(tensor('bool', [2, 2], [1, 0, 1, 1]));
    expect(Array.from(materialize(mask, { seq: 1 }).data as Uint8Array)).toEqual([1]);
    expect(() => materialize(mask, { seq: 3 })).toThrow(/expected at least 3, got bool\[2, 2\]/);
    expect(() => fromPattern(tensor('int64', [2, 2], [1, 1, 1, 1]))).toThrow(/fromPattern: not a pattern/);
  });
  it('of linear biases keep the first keys of steep heads', () => {
    const { dims, data } = alibiPattern({ heads: 2, seq: 5, threshold: 0.2 });
    expect(dims).toEqual([2, 1, 5]);
    // Slopes 1/16 and 1/256.
    expect(Array.from(data as Uint8Array)).toEqual([1, 1, 1, 1, 0, 1, 1, 1, 1, 1]);
  });
  it('are sampled exactly so often, and likelier pairs more often', () => {
    const near = gridGaussian([13], { sigma: 2 });
    const drawn = Array.from({ length: 40 }, (_, seed) => Array.from(samplePairs(near, 30, seed).data as Uint8Array));
    expect(drawn.every((flags) => flags.reduce((a, b) => a + b) === 30)).toBe(true);
    const often = (distance: number) =>
      drawn.reduce(
        (sum, flags) => sum + flags.filter((flag, i) => flag && Math.abs(Math.floor(i / 13) - (i % 13)) === distance).length,
        0,
      );
    // 13 pairs at distance 0, 14 at distance 6, whose probability is e^-4.5 of the first.
    expect(often(0)).toBeGreaterThan(5 * often(6));
    expect(samplePairs(near, 30, 7)).toEqual(samplePairs(near, 30, 7));
    const some = tensor('float32', [2, 2], [1, 0, 0, 3]);
    expect(Array.from(samplePairs(some, 2, 1).data as Uint8Array)).toEqual([1, 0, 0, 1]);
    expect(() => samplePairs(some, 3, 1)).toThrow(/an integer from 0 to 2, got 3/);
    const weights = Array.from({ length: 9 }, (_, i) => 2 ** (i - 4));
    const in16Bits = tensor('float16', [3, 3], weights);
    expect(samplePairs(in16Bits, 4, 3)).toEqual(samplePairs(tensor('float32', [3, 3], weights), 4, 3));
  });
});

describe('patterns by name', () => {
  const options: Readonly<Record<string, object>> = {
    window: { left: 2, right: 1 },
    dilated: { step: 3 },
    prefix: { count: 2 },
    global: { positions: [1, 5] },
    random: { density: 0.3 },
    local: { sizes: [3, 5], distance: 2 },
    axial: { sizes: [3, 5] },
    swin: { sizes: [4, 6], window: 2, shift: 1 },
    dilated_grid: { sizes: [3, 5], step: 2 },
    alibi: { heads: 2, seqLen: 7, threshold: 0.2 },
    ...Object.fromEntries(
      ['dense', 'fixed', 'variable', 'big_bird', 'longformer'].map((name) => [name, { seqLen: 42, blockSize: 7 }]),
    ),
  };
  it.each(patternNames.map((name) => [name]))('%s', (name) => {
    const { mask, seq = 15, heads = 1 } = patternFrom({ name, ...options[name] });
    const { data } = materialize(mask, { seq, heads });
    const pairs = Array.from(data as Uint8Array).reduce((a, b) => a + b);
    expect(pairs).toBeGreaterThan(0);
    expect(() => patternFrom({ name, ...options[name], nonsense: 1 })).toThrow(/unknown option "nonsense"/);
  });
  it('combine', () => {
    const both = { and: [{ name: 'causal' }, { or: [{ name: 'axial', sizes: [3, 5] }, { not: { name: 'dilated', step: 2 } }] }] };
    const { mask, seq } = patternFrom(both);
    expect(seq).toBe(15);
    const { data } = materialize(mask, { seq: 15 });
    const allowed = (i: number, j: number) =>
      j <= i && (Math.floor(i / 5) === Math.floor(j / 5) || i % 5 === j % 5 || (i - j) % 2 !== 0);
    expect(Array.from(data as Uint8Array)).toEqual(
      Array.from({ length: 225 }, (_, at) => Number(allowed(Math.floor(at / 15), at % 15))),
    );
  });
  it.each([
    [{ name: 'swim' }, /pattern.name: no such pattern; got "swim". Did you mean "swin"\?/],
    [
      {
        and: [
          { name: 'axial', sizes: [3, 5] },
          { name: 'axial', sizes: [4, 4] },
        ],
      },
      /patterns of different seq; expected the same, got 15 and 16/,
    ],
    [{ and: [] }, /pattern.and: not a combination of patterns/],
    [{ and: [{ name: 'causal' }], not: { name: 'causal' } }, /not a combination of patterns/],
    [{ or: [{ name: 'local', sizes: 7 }] }, /pattern.or\[0\].sizes: wrong value; expected a list of sizes/],
  ])('are refused: %o', (config, message) => {
    expect(() => patternFrom(config)).toThrow(message);
  });
});
