import { describe, expect, test } from 'vitest';
import type { NDArray } from '../tensor/tensor';
import { array } from '../testing/attention-calls';
import {
  and,
  blockLayout,
  causal,
  causalFromTopLeft,
  dense,
  dilated,
  documentIds,
  documents,
  globalTokens,
  keyLengths,
  keyPadding,
  keyStarts,
  type Mask,
  none,
  not,
  or,
  prefix,
  slidingWindow,
  slidingWindowFromTopLeft,
} from './index';
import { mayAttend } from './predicate';

const int64 = (...data: number[]): NDArray => array('int64', [data.length], data);
const bool = (dims: number[], picture: string): NDArray =>
  array(
    'bool',
    dims,
    Array.from(picture.replaceAll(' ', ''), (c) => (c === '#' ? 1 : 0)),
  );

/** A row for each query, # for keys it may attend to. */
function picture(mask: Mask<NDArray>, seq: number, kvSeq: number, queryOffset?: NDArray, batchRow = 0, head = 0): string[] {
  const allowed = mayAttend(mask, { seq, kvSeq }, queryOffset);
  return Array.from({ length: seq }, (_, i) =>
    Array.from({ length: kvSeq }, (_, j) => (allowed(batchRow, head, i, j) ? '#' : '.')).join(''),
  );
}

describe('queries and keys end together', () => {
  test('none', () => expect(picture(none, 2, 3)).toEqual(['###', '###']));
  test('causal', () => expect(picture(causal, 3, 5)).toEqual(['###..', '####.', '#####']));
  test('causal, fewer keys than queries: the first queries attend to no key', () =>
    expect(picture(causal, 5, 3)).toEqual(['...', '...', '#..', '##.', '###']));
  test('causal from the top left', () => {
    expect(picture(causalFromTopLeft, 3, 5)).toEqual(['#....', '##...', '###..']);
    expect(picture(causalFromTopLeft, 5, 3)).toEqual(['#..', '##.', '###', '###', '###']);
  });
  test('dilated', () => {
    expect(picture(dilated(2), 3, 5)).toEqual(['#.#.#', '.#.#.', '#.#.#']);
    expect(picture(and(slidingWindow({ left: 3, right: 3 }), dilated(3)), 5, 5)).toEqual([
      '#..#.',
      '.#..#',
      '..#..',
      '#..#.',
      '.#..#',
    ]);
    expect(picture(dilated(3), 4, 2)).toEqual(['.#', '..', '#.', '.#']);
  });
  test('prefix', () => expect(picture(prefix(2), 4, 4)).toEqual(['##..', '##..', '###.', '####']));
  test('global tokens', () => {
    const local = slidingWindow({ left: 0, right: 0 });
    expect(picture(or(local, globalTokens(1)), 3, 3)).toEqual(['###', '##.', '#.#']);
    expect(picture(or(local, globalTokens(1)), 2, 4)).toEqual(['#.#.', '#..#']);
    expect(picture(globalTokens(1), 4, 2)).toEqual(['#.', '#.', '##', '#.']);
    expect(picture(globalTokens([3, 1]), 5, 5)).toEqual(['.#.#.', '#####', '.#.#.', '#####', '.#.#.']);
    expect(picture(globalTokens([1, 0, 1]), 3, 3)).toEqual(picture(globalTokens(2), 3, 3));
  });
  test('blocks', () => {
    const layout = bool([1, 2, 3], '#.# .#.');
    expect(picture(blockLayout(layout, 2), 4, 6)).toEqual(['..##..', '..##..', '......', '......']);
    expect(picture(blockLayout(layout, 2), 4, 4)).toEqual(['##..', '##..', '..##', '..##']);
    expect(picture(blockLayout(bool([2, 1, 1], '.#'), 3), 2, 2, undefined, 0, 1)).toEqual(['##', '##']);
  });
  test('window', () =>
    expect(picture(slidingWindow({ left: 2, right: 1 }), 5, 5)).toEqual(['##...', '###..', '####.', '.####', '..###']));
  test('window open on the right', () => expect(picture(slidingWindow({ left: 1 }), 2, 5)).toEqual(['..###', '...##']));
  test('window from the top left', () => {
    expect(picture(slidingWindowFromTopLeft({ left: 1, right: 0 }), 3, 5)).toEqual(['#....', '##...', '.##..']);
    expect(picture(slidingWindowFromTopLeft({ left: 1, right: 1 }), 5, 3)).toEqual(['##.', '###', '.##', '..#', '...']);
    expect(picture(slidingWindowFromTopLeft({ right: 1 }), 2, 4)).toEqual(['##..', '###.']);
  });
  test('window of negative bounds leaves the query itself out', () =>
    expect(picture(slidingWindow({ left: -1, right: 2 }), 3, 3)).toEqual(['.##', '..#', '...']));
});

describe('queries start at queryOffset', () => {
  const queryOffset = int64(2, 0);
  test('none: only existing positions', () => {
    expect(picture(none, 2, 5, queryOffset, 0)).toEqual(['####.', '####.']);
    expect(picture(none, 2, 5, queryOffset, 1)).toEqual(['##...', '##...']);
  });
  test('what compares positions starts there, what counts queries does not', () => {
    expect(picture(prefix(int64(4, 1)), 2, 5, queryOffset, 0)).toEqual(['####.', '####.']);
    expect(picture(prefix(int64(4, 1)), 2, 5, queryOffset, 1)).toEqual(['#....', '##...']);
    expect(picture(causalFromTopLeft, 2, 5, queryOffset, 0)).toEqual(['#....', '##...']);
    expect(picture(dilated(2), 2, 5, queryOffset, 0)).toEqual(['#.#..', '.#.#.']);
  });
  test('causal', () => {
    expect(picture(causal, 2, 5, queryOffset, 0)).toEqual(['###..', '####.']);
    expect(picture(causal, 2, 5, queryOffset, 1)).toEqual(['#....', '##...']);
  });
  test('the opposite of causal stays within the rows that exist', () =>
    expect(picture(not(causal), 2, 5, queryOffset, 0)).toEqual(['...#.', '.....']));
});

describe('data', () => {
  test('lengths', () => expect(picture(keyLengths(int64(5, 2)), 2, 3, undefined, 1)).toEqual(['##.', '##.']));
  test('key starts', () => expect(picture(keyStarts(int64(0, 2)), 2, 3, undefined, 1)).toEqual(['..#', '..#']));
  test('document ids: negative ones attend to nothing', () =>
    expect(picture(documentIds(array('int64', [1, 5], [0, 0, -1, 3, -1])), 5, 5)).toEqual([
      '##...',
      '##...',
      '.....',
      '...#.',
      '.....',
    ]));
  test('flags of global tokens', () => {
    const flags = { queries: bool([2, 2], '.. #.'), keys: bool([2, 3], '... ..#') };
    expect(picture(globalTokens(flags), 2, 3, undefined, 1)).toEqual(['###', '..#']);
    expect(picture(globalTokens(flags), 2, 3, undefined, 0)).toEqual(['...', '...']);
  });
  test('keys', () => expect(picture(keyPadding(bool([2, 3], '### #.#')), 2, 3, undefined, 1)).toEqual(['#.#', '#.#']));
  test('tensor of each rank', () => {
    expect(picture(dense(bool([], '.')), 1, 2)).toEqual(['..']);
    expect(picture(dense(bool([3], '#.#')), 2, 3)).toEqual(['#.#', '#.#']);
    expect(picture(dense(bool([2, 1], '#.')), 2, 3)).toEqual(['###', '...']);
    expect(picture(dense(bool([2, 1, 2], '#. ##')), 3, 2, undefined, 0, 1)).toEqual(['##', '##', '##']);
    expect(picture(dense(bool([2, 1, 1, 2], '#. .#')), 1, 2, undefined, 1, 0)).toEqual(['.#']);
  });
});

describe('packed sequences', () => {
  const offsets = int64(0, 2, 2, 5);
  test('each token attends to its own sequence; tokens after the last sequence attend to no key', () =>
    expect(picture(documents(offsets), 6, 6)).toEqual(['##....', '##....', '..###.', '..###.', '..###.', '......']));
  test('causal within a sequence', () =>
    expect(picture(and(documents(offsets), causal), 5, 5)).toEqual(['#....', '##...', '..#..', '..##.', '..###']));
  test('lengths, starts and prefixes are those of the sequences', () => {
    expect(picture(and(documents(int64(0, 2, 5)), keyLengths(int64(1, 2))), 5, 5)).toEqual([
      '#....',
      '#....',
      '..##.',
      '..##.',
      '..##.',
    ]);
    expect(picture(and(documents(int64(0, 2, 5)), keyStarts(int64(1, 2))), 5, 5)).toEqual([
      '.#...',
      '.#...',
      '....#',
      '....#',
      '....#',
    ]);
    expect(picture(and(documents(int64(0, 2, 5)), prefix(int64(0, 2))), 5, 5)).toEqual([
      '#....',
      '##...',
      '..##.',
      '..##.',
      '..###',
    ]);
  });
  test('causal from the top left counts in each sequence', () =>
    expect(picture(and(documents(int64(0, 2, 3), int64(0, 4, 7)), causalFromTopLeft), 3, 7)).toEqual([
      '#......',
      '##.....',
      '....#..',
    ]));
  test('a window from the top left counts in each sequence', () =>
    expect(
      picture(and(documents(int64(0, 2, 3), int64(0, 4, 7)), slidingWindowFromTopLeft({ left: 0, right: 0 })), 3, 7),
    ).toEqual(['#......', '.#.....', '....#..']));
  test('more keys than queries: they end together', () =>
    expect(picture(and(documents(int64(0, 2, 3), int64(0, 4, 7)), causal), 3, 7)).toEqual(['###....', '####...', '....###']));
  test('fewer keys than queries', () =>
    expect(picture(and(documents(int64(0, 3), int64(0, 1)), slidingWindow({ left: 0, right: 1 })), 3, 1)).toEqual([
      '.',
      '#',
      '#',
    ]));
  test('padding after the keys of each sequence', () => {
    const padded = documents(int64(0, 2, 3), int64(0, 4, 7), int64(3, 1));
    expect(picture(padded, 3, 7)).toEqual(['###....', '###....', '....#..']);
    expect(picture(and(padded, causal), 3, 7)).toEqual(['##.....', '###....', '....#..']);
    expect(picture(and(padded, causalFromTopLeft), 3, 7)).toEqual(['#......', '##.....', '....#..']);
    expect(picture(and(padded, slidingWindow({ left: 0, right: 0 })), 3, 7)).toEqual(['.#.....', '..#....', '....#..']);
  });
  test('padding of keys of the same offsets as the queries', () =>
    expect(picture(and(documents(int64(0, 2, 5), undefined, int64(2, 1)), causal), 5, 5)).toEqual([
      '#....',
      '##...',
      '.....',
      '.....',
      '..#..',
    ]));
  test('gaps before, between and after sequences, and a sequence without keys', () =>
    expect(picture(and(documents(int64(0, 1, 3, 4), int64(1, 4, 6, 9), int64(2, 0, 3)), causal), 4, 10)).toEqual([
      '.##.......',
      '..........',
      '..........',
      '......###.',
    ]));
  test('a length beyond the next sequence ends there', () =>
    expect(picture(and(documents(int64(0, 2, 3), int64(0, 2, 4), int64(5, 1)), causal), 3, 4)).toEqual(['#...', '##..', '..#.']));
  test('tokens before the first offset attend to no key', () =>
    expect(picture(documents(int64(1, 2), int64(1, 3)), 2, 3)).toEqual(['...', '.##']));
});

test('and, or, not', () => {
  const left = slidingWindow({ left: 1, right: -1 });
  const right = slidingWindow({ left: -1, right: 1 });
  expect(picture(or(left, right), 3, 3)).toEqual(['.#.', '#.#', '.#.']);
  expect(picture(not(or(left, right)), 3, 3)).toEqual(['#.#', '.#.', '#.#']);
  expect(picture(and(not(causal), right), 3, 3)).toEqual(['.#.', '..#', '...']);
});

test('two documents masks are a fault', () => {
  const documentsOf = (n: number): Mask<NDArray> => documents(int64(0, n));
  expect(() => mayAttend(and(documentsOf(1), documentsOf(2)), { seq: 1, kvSeq: 1 })).toThrow(
    'internal: two masks of one attention say where positions start',
  );
});
