import { ConfigError, type NDArray, namesOf } from '@onnxformers/core';
import { expectClose, randomArray, runBlock, traceBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { alibi, alibiSlopes, disentangled, swinRelative, t5Relative } from '../index';

const given = (heads: number, seq: number, batch = 2) => ({
  q: randomArray('q', [batch, heads, seq, 3]),
  k: randomArray('k', [batch, 1, seq, 3]),
});
const at: NDArray = { dtype: 'int64', dims: [2, 5], data: Float64Array.of(3, 4, 5, 9, 40, 0, 2, 7, 1, 200) };

/** [1 or batch, heads, query, key] by a number for head, position of the query and of the key. */
function pairs(
  heads: number,
  positions: readonly (readonly number[])[],
  f: (h: number, i: number, j: number) => number,
): NDArray {
  const seq = positions[0]!.length;
  const data = positions.flatMap((p) =>
    Array.from({ length: heads }, (_, h) => p.flatMap((i) => p.map((j) => f(h, i, j)))).flat(),
  );
  return { dtype: 'float32', dims: [positions.length, heads, seq, seq], data: Float64Array.from(data) };
}
const counted = (seq: number, batch: number) => Array.from({ length: batch }, () => Array.from({ length: seq }, (_, i) => i));
const rowsOf = ({ data, dims }: NDArray) =>
  Array.from({ length: dims[0]! }, (_, b) => [...data.subarray(b * dims[1]!, (b + 1) * dims[1]!)]);

describe('alibi', () => {
  // The geometric sequences of the paper; its code for the numbers between powers of two.
  it.each([
    [1, [2 ** -8]],
    [2, [2 ** -4, 2 ** -8]],
    [3, [2 ** -4, 2 ** -8, 2 ** -2]],
    [8, [1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64, 1 / 128, 1 / 256]],
    [12, [1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64, 1 / 128, 1 / 256, 2 ** -0.5, 2 ** -1.5, 2 ** -2.5, 2 ** -3.5]],
  ])('has the slopes of %i heads', (heads, slopes) => {
    alibiSlopes(heads).forEach((slope, h) => {
      expect(slope).toBeCloseTo(slopes[h]!, 12);
    });
    expect(alibiSlopes(heads)).toHaveLength(heads);
  });

  it.each([3, 8])('lowers scores by distance, %i heads', (heads) => {
    const slopes = alibiSlopes(heads);
    const fall = (h: number, i: number, j: number) => -slopes[h]! * Math.abs(i - j);
    const { y } = runBlock(alibi({}), given(heads, 7)).outputs;
    expectClose(y!, pairs(heads, counted(7, y!.dims[0]!), fall));
    const { outputs } = runBlock(alibi({}), { ...given(heads, 5), position_ids: at });
    expectClose(outputs.y!, pairs(heads, rowsOf(at), fall));
  });

  /** Round to nearest even with 8 significant bits. */
  function toBfloat16(x: number): number {
    if (x === 0) return 0;
    const unit = 2 ** (Math.floor(Math.log2(x)) - 7);
    const below = Math.floor(x / unit);
    const rest = x / unit - below;
    return (rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below) * unit;
  }

  it('of keys is rounded to bfloat16, slope, position and product', () => {
    const slopes = alibiSlopes(12);
    const far: NDArray = { dtype: 'int64', dims: [2, 5], data: Float64Array.of(3, 255, 257, 1023, 1999, 0, 2, 7, 1, 1337) };
    const block = alibi({ roundedPositions: 2003, scale: 0.5 });
    const { outputs } = runBlock(block, { ...given(12, 5), position_ids: far });
    const bias = (h: number, _: number, j: number) => 0.5 * toBfloat16(toBfloat16(slopes[h]!) * toBfloat16(j));
    expectClose(outputs.y!, pairs(12, rowsOf(far), bias), { atol: 0, rtol: 1e-7 });
    expect(() =>
      expectClose(
        outputs.y!,
        pairs(12, rowsOf(far), (h, _, j) => 0.5 * slopes[h]! * j),
      ),
    ).toThrow(/differ/);
  });

  it('of keys is refused for more positions than it has', () => {
    const block = alibi({ roundedPositions: 5 });
    const dims = [1, 2, 7, 3];
    expect(() => traceBlock(block, { q: ['float32', dims], k: ['float32', dims] })).toThrow(/roundedPositions/);
  });
});

describe('t5_relative', () => {
  // Of 32 buckets up to 128, 16 for each side: where each begins, 8 · 16^(j / 8) rounded up from the ninth on.
  const begins = [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91];
  const bucket = (starts: readonly number[], n: number) => starts.findLastIndex((start) => n >= start);

  it('looks buckets up, keys after the query in the second half', () => {
    const positions = [[0, 1, 7, 8, 11, 12, 15, 16, 22, 23, 31, 32, 45, 46, 63, 64, 90, 91, 127, 128, 500]];
    const seq = positions[0]!.length;
    const position_ids: NDArray = { dtype: 'int64', dims: [1, seq], data: Float64Array.from(positions[0]!) };
    const block = t5Relative({ heads: 3 });
    const { outputs, parameters } = runBlock(block, { ...given(3, seq, 1), position_ids });
    const table = parameters['relative_attention_bias.weight']!;
    expect(table.dims).toEqual([32, 3]);
    const at = (i: number, j: number) => (j > i ? 16 : 0) + bucket(begins, Math.abs(j - i));
    expectClose(
      outputs.y!,
      pairs(3, positions, (h, i, j) => table.data[at(i, j) * 3 + h]!),
    );
  });

  it('of one direction, later keys are at distance 0', () => {
    // Six buckets up to 11: three exact, then 3 · (11 / 3)^(j / 3).
    const starts = [0, 1, 2, 3, 5, 8];
    const { outputs, parameters } = runBlock(
      t5Relative({ heads: 2, bidirectional: false, buckets: 6, maxDistance: 11 }),
      given(2, 19),
    );
    const table = parameters['relative_attention_bias.weight']!;
    const at = (i: number, j: number) => bucket(starts, Math.max(0, i - j));
    expectClose(
      outputs.y!,
      pairs(2, counted(19, outputs.y!.dims[0]!), (h, i, j) => table.data[at(i, j) * 2 + h]!),
    );
  });

  it.each([
    [{ heads: 2, buckets: 5 }, /t5_relative\.buckets: .*expected an even number >= 4, got 5/],
    [{ heads: 2, buckets: 2 }, /expected an even number >= 4, got 2/],
    [{ heads: 2, buckets: 32, maxDistance: 8 }, /t5_relative\.maxDistance: .*expected an integer > 8/],
  ])('refuses %o', (config, message) => {
    expect(() => t5Relative(config)).toThrow(ConfigError);
    expect(() => t5Relative(config)).toThrow(message);
  });

  it('has the name that checkpoints know', () => {
    expect([...namesOf(t5Relative({ heads: 2 })).parameters.keys()]).toEqual(['relative_attention_bias.weight']);
  });
});

describe('swin_relative', () => {
  /** The row of the table by the offsets of two cells, written as the paper's code does: coordinates, shifted to 0 and joined. */
  const rowOf = ([rows, columns]: readonly [number, number], i: number, j: number) => {
    const down = Math.floor(i / columns) - Math.floor(j / columns) + (rows - 1);
    const right = (i % columns) - (j % columns) + (columns - 1);
    return down * (2 * columns - 1) + right;
  };

  it.each([
    [[2, 5], false],
    [[3, 2], true],
  ] as const)('of a window %o, class token %s, looks offsets up', (window, classToken) => {
    const seq = window[0] * window[1] + Number(classToken);
    const { outputs, parameters } = runBlock(swinRelative({ heads: 3, window, classToken }), given(3, seq, 2));
    const table = parameters.relative_position_bias_table!;
    const inside = (2 * window[0] - 1) * (2 * window[1] - 1);
    expect(table.dims).toEqual([inside + (classToken ? 3 : 0), 3]);
    const row = (i: number, j: number) => {
      if (!classToken) return rowOf(window, i, j);
      if (i === 0) return j === 0 ? inside + 2 : inside;
      return j === 0 ? inside + 1 : rowOf(window, i - 1, j - 1);
    };
    expectClose(
      outputs.y!,
      pairs(3, counted(seq, outputs.y!.dims[0]!), (h, i, j) => table.data[row(i, j) * 3 + h]!),
    );
  });

  it('refuses other positions than the cells of its window', () => {
    expect(() => runBlock(swinRelative({ heads: 3, window: [2, 5] }), given(3, 11))).toThrow(
      /swin_relative\.window: .*expected 10 queries and keys, got 11 queries and 11 keys/,
    );
  });
});

it('both refuse a memory, and a cache with position_ids', () => {
  const shapes = { q: ['float32', ['batch', 2, 'seq', 3]], k: ['float32', ['batch', 2, 'rows', 3]] } as const;
  expect(() => traceBlock(alibi({}), shapes)).toThrow(
    /the number of keys differs from the number of queries, so their positions are unknown/,
  );
  const own = { ...shapes, k: shapes.q } as const;
  const ids = { ...own, position_ids: ['int64', ['batch', 'seq']] } as const;
  expect(() => traceBlock(t5Relative({ heads: 2 }), ids, { state: 'io' })).toThrow(/position_ids together with a state/);
});

describe('disentangled', () => {
  const [heads, width, batch] = [2, 3, 2];
  const dim = heads * width;

  /** The formula in plain loops: rows of the embeddings by distance, projected, against queries and keys. */
  function expected(
    span: number,
    seq: number,
    row: (distance: number) => number,
    { q, k, p }: { q: NDArray; k: NDArray; p: Readonly<Record<string, NDArray>> },
    terms: { c2p: boolean; p2c: boolean },
  ): NDArray {
    const table = p['rel_embeddings.weight']!.data;
    const projected = (name: string, r: number, channel: number): number => {
      let sum = p[`${name}.bias`]!.data[channel]!;
      for (let c = 0; c < dim; c++) sum += p[`${name}.weight`]!.data[channel * dim + c]! * table[r * dim + c]!;
      return sum;
    };
    const data: number[] = [];
    for (let b = 0; b < batch; b++)
      for (let h = 0; h < heads; h++)
        for (let i = 0; i < seq; i++)
          for (let j = 0; j < seq; j++) {
            const r = Math.min(Math.max(row(i - j) + span, 0), 2 * span - 1);
            let sum = 0;
            for (let c = 0; c < width; c++) {
              const at = (x: NDArray, place: number) => x.data[((b * heads + h) * seq + place) * width + c]!;
              if (terms.c2p) sum += at(q, i) * projected('pos_key_proj', r, h * width + c);
              if (terms.p2c) sum += at(k, j) * projected('pos_query_proj', r, h * width + c);
            }
            data.push(0.5 * sum);
          }
    return { dtype: 'float32', dims: [batch, heads, seq, seq], data: Float64Array.from(data) };
  }
  const feeds = (seq: number) => ({
    q: randomArray('q', [batch, heads, seq, width]),
    k: randomArray('k', [batch, heads, seq, width]),
  });

  it.each([
    [true, true],
    [true, false],
    [false, true],
  ])('scores queries with distances: %s, keys with distances: %s', (contentToPosition, positionToContent) => {
    const block = disentangled({ dim, heads, span: 4, scale: 0.5, contentToPosition, positionToContent });
    const { outputs, parameters: p } = runBlock(block, feeds(7));
    const terms = { c2p: contentToPosition, p2c: positionToContent };
    expectClose(
      outputs.y!,
      expected(4, 7, (d) => d, { ...feeds(7), p }, terms),
      { atol: 1e-6, rtol: 1e-6 },
    );
  });

  it('lets large distances share embeddings', () => {
    // With 4 distances on each side and 9 as the largest, the logarithmic part has one step: 2 < d < 9 → 3, and 9 and more → 4.
    const bucket = (d: number) => Math.sign(d) * (Math.abs(d) <= 2 ? Math.abs(d) : Math.abs(d) < 9 ? 3 : 4);
    const block = disentangled({ dim, heads, span: 4, buckets: true, maxDistance: 9, scale: 0.5 });
    const { outputs, parameters: p } = runBlock(block, feeds(13));
    expectClose(outputs.y!, expected(4, 13, bucket, { ...feeds(13), p }, { c2p: true, p2c: true }), { atol: 1e-6, rtol: 1e-6 });
  });

  it('refuses what it cannot compute', () => {
    expect(() => disentangled({ dim, heads, span: 4, contentToPosition: false, positionToContent: false })).toThrow(
      /neither term/,
    );
    expect(() => disentangled({ dim, heads: 4, span: 4 })).toThrow(/heads does not divide dim/);
    expect(() => disentangled({ dim, heads, span: 1, buckets: true })).toThrow(/span: too few distances/);
    expect(() => disentangled({ dim, heads, span: 8, buckets: true, maxDistance: 5 })).toThrow(/an integer > 5/);
    const others = { q: randomArray('q', [1, heads, 3, width]), k: randomArray('k', [1, 1, 3, width]) };
    expect(() => runBlock(disentangled({ dim, heads, span: 4 }), others)).toThrow(/k has other heads/);
  });
});
