import { ConfigError, type NDArray, namesOf } from '@onnxformers/core';
import { expectClose, randomArray, runBlock, traceBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { classToken, learnable, sine, token, vocab } from './index';

// Rates and angles are float32 in the graph.
const float32 = { atol: 2e-6, rtol: 1e-6 };
const ids: NDArray = { dtype: 'int64', dims: [2, 3], data: Float64Array.of(4, 0, 2, 1, 1, 6) };
const places: NDArray = { dtype: 'int64', dims: [2, 3], data: Float64Array.of(3, 4, 5, 0, 2, 7) };

/** x + f(position, channel), positions from 0 unless given. */
function added(x: NDArray, f: (t: number, c: number) => number, at?: NDArray): NDArray {
  const [, seq, dim] = x.dims as [number, number, number];
  const data = x.data.map((v, i) => v + f(at ? at.data[Math.floor(i / dim)]! : Math.floor(i / dim) % seq, i % dim));
  return { ...x, data };
}

describe('sine', () => {
  const interleaved = (dim: number, base: number) => (t: number, c: number) => {
    const angle = t / base ** ((2 * Math.floor(c / 2)) / dim);
    return c % 2 ? Math.cos(angle) : Math.sin(angle);
  };
  it.each([7, 8])('adds sines and cosines side by side, %i channels', (dim) => {
    const x = randomArray('x', [2, 11, dim]);
    expectClose(runBlock(sine({ dim }), { x }).outputs.y!, added(x, interleaved(dim, 10_000)), float32);
  });
  it.each([7, 8])('adds all sines before all cosines, %i channels', (dim) => {
    const x = randomArray('x', [2, 11, dim]);
    const half = Math.ceil(dim / 2);
    const f = (t: number, c: number) => (c < half ? Math.sin : Math.cos)(t / 500 ** ((2 * (c % half)) / dim));
    expectClose(runBlock(sine({ dim, base: 500, order: 'halves' }), { x }).outputs.y!, added(x, f), float32);
  });
  it('uses the positions of the context', () => {
    const x = randomArray('x', [2, 3, 8]);
    const { outputs } = runBlock(sine({ dim: 8 }), { x, position_ids: places });
    expectClose(outputs.y!, added(x, interleaved(8, 10_000), places), float32);
  });
});

describe('vocab with token types', () => {
  const types: NDArray = { dtype: 'int64', dims: [2, 3], data: Float64Array.of(2, 0, 1, 1, 0, 2) };
  const sum = (p: Readonly<Record<string, NDArray>>, ofType: (at: number) => number) => {
    const row = (name: string, t: number, c: number) => p[`${name}_embeddings.weight`]!.data[t * 5 + c]!;
    const data = Float64Array.from({ length: 30 }, (_, i) => {
      const [at, c] = [Math.floor(i / 5), i % 5];
      return row('word', ids.data[at]!, c) + row('position', at % 3, c) + row('token_type', ofType(at), c);
    });
    return { dtype: 'float32', dims: [2, 3, 5], data } as const;
  };
  const block = vocab({ vocabSize: 7, seqLen: 11, typeVocabSize: 3, dim: 5 });
  it('adds the embedding of each token type', () => {
    const { outputs, parameters } = runBlock(block, { ids, token_type_ids: types });
    expectClose(
      outputs.y!,
      sum(parameters, (at) => types.data[at]!),
    );
  });
  it('uses type 0 without the input', () => {
    const { outputs, parameters } = runBlock(block, { ids });
    expectClose(
      outputs.y!,
      sum(parameters, () => 0),
    );
  });
  it('refuses types without a table', () => {
    expect(() => runBlock(vocab({ vocabSize: 7, seqLen: 11, dim: 5 }), { ids, token_type_ids: types })).toThrow(
      'vocab.typeVocabSize: the model has the input token_type_ids and no token type embeddings',
    );
  });
});

describe('learnable', () => {
  it('adds the rows of its table', () => {
    const x = randomArray('x', [2, 3, 5]);
    const { outputs, parameters } = runBlock(learnable({ seqLen: 11, dim: 5 }), { x, position_ids: places });
    const table = parameters.pos_emb!;
    expect(table.dims).toEqual([1, 11, 5]);
    expectClose(
      outputs.y!,
      added(x, (t, c) => table.data[t * 5 + c]!, places),
    );
  });
  it('adds a class token before each sequence', () => {
    const x = randomArray('x', [2, 3, 5]);
    const { outputs, parameters: p } = runBlock(learnable({ seqLen: 3, dim: 5, classToken: true }), { x });
    expect(
      [...namesOf(learnable({ seqLen: 3, dim: 5, classToken: true })).parameters].map(([n, { dims }]) => `${n} ${dims}`),
    ).toEqual(['pos_emb 1,4,5', 'class_token 5']);
    const data = Float64Array.from({ length: 2 * 4 * 5 }, (_, i) => {
      const [b, t, c] = [Math.floor(i / 20), Math.floor(i / 5) % 4, i % 5];
      return (t === 0 ? p.class_token!.data[c]! : x.data[(b * 3 + t - 1) * 5 + c]!) + p.pos_emb!.data[t * 5 + c]!;
    });
    expectClose(outputs.y!, { dtype: 'float32', dims: [2, 4, 5], data });
  });
  it('adds a distillation token after the class token', () => {
    const x = randomArray('x', [2, 3, 5]);
    const block = learnable({ seqLen: 3, dim: 5, classToken: true, distillationToken: true });
    const { outputs, parameters: p } = runBlock(block, { x });
    const data = Float64Array.from({ length: 2 * 5 * 5 }, (_, i) => {
      const [b, t, c] = [Math.floor(i / 25), Math.floor(i / 5) % 5, i % 5];
      const own = t > 1 ? x.data[(b * 3 + t - 2) * 5 + c]! : p[t ? 'distillation_token' : 'class_token']!.data[c]!;
      return own + p.pos_emb!.data[t * 5 + c]!;
    });
    expectClose(outputs.y!, { dtype: 'float32', dims: [2, 5, 5], data });
    expect(() => learnable({ seqLen: 3, dim: 5, distillationToken: true })).toThrow(
      /distillationToken: .*follows the class token/,
    );
  });

  describe('with a grid', () => {
    const [rows, columns, dim] = [3, 2, 5];
    const block = learnable({ seqLen: rows * columns, dim, classToken: true, grid: [rows, columns] });
    const keys = (d: number): number => {
      const [a, r] = [-0.75, Math.abs(d)];
      if (r <= 1) return (a + 2) * r ** 3 - (a + 3) * r ** 2 + 1;
      return r < 2 ? a * (r ** 3 - 5 * r ** 2 + 8 * r - 4) : 0;
    };
    /** Row i of a resized axis as weights of the given rows. */
    const weights = (i: number, from: number, to: number): number[] => {
      const source = ((i + 0.5) * from) / to - 0.5;
      const row = new Array<number>(from).fill(0);
      for (let k = Math.floor(source) - 1; k <= Math.floor(source) + 2; k++)
        row[Math.min(Math.max(k, 0), from - 1)]! += keys(source - k);
      return row;
    };

    it.each([4, 7])('resizes its table bicubically to a square of side %i', (side) => {
      const x = randomArray('x', [1, side * side, dim]);
      const { outputs, parameters: p } = runBlock(block, { x });
      const data = Float64Array.from({ length: (side * side + 1) * dim }, (_, i) => {
        const [t, c] = [Math.floor(i / dim) - 1, i % dim];
        if (t < 0) return p.class_token!.data[c]! + p.pos_emb!.data[c]!;
        const [down, across] = [weights(Math.floor(t / side), rows, side), weights(t % side, columns, side)];
        const parts = down.flatMap((v, r) => across.map((w, s) => v * w * p.pos_emb!.data[(1 + r * columns + s) * dim + c]!));
        return x.data[t * dim + c]! + parts.reduce((a, b) => a + b);
      });
      expectClose(outputs.y!, { dtype: 'float32', dims: [1, side * side + 1, dim], data }, float32);
    });

    it('refuses a table of other cells, and positions that are not a grid', () => {
      expect(() => learnable({ seqLen: 5, dim, grid: [3, 2] })).toThrow(/grid: .*seqLen = 5, got 3 · 2/);
      expect(() => runBlock(block, { x: randomArray('x', [1, 6, dim]) })).toThrow(
        /rows and columns of the positions are not known/,
      );
    });
  });

  it('refuses a class token with a state', () => {
    const block = learnable({ seqLen: 5, dim: 3, classToken: true });
    const x = ['float32', ['batch', 'seq', 3]] as const;
    expect(() => traceBlock(block, { x }, { state: 'io' })).toThrow(
      /prefix tokens can only be added to whole sequences.*got a state/,
    );
  });
});

it('class_token puts its token before each sequence', () => {
  const x = randomArray('x', [2, 3, 5]);
  const { outputs, parameters: p } = runBlock(classToken({ dim: 5 }), { x });
  const rows = [0, 1].flatMap((b) => [...p.weight!.data, ...x.data.subarray(b * 15, (b + 1) * 15)]);
  expectClose(outputs.y!, { dtype: 'float32', dims: [2, 4, 5], data: Float64Array.from(rows) }, { atol: 0, rtol: 0 });
});

describe('embeddings', () => {
  const gathered = (table: NDArray, f: (row: number[], i: number) => number[]) => {
    const dim = table.dims[1]!;
    const rows = Array.from(ids.data, (id, i) => f(Array.from(table.data.subarray(id * dim, (id + 1) * dim)), i));
    return { dtype: 'float32', dims: [2, 3, dim], data: Float64Array.from(rows.flat()) } as const;
  };

  it('token looks up and scales', () => {
    const { outputs, parameters: p } = runBlock(token({ vocabSize: 7, dim: 5, scale: 2.5 }), { ids });
    expectClose(
      outputs.y!,
      gathered(p.weight!, (row) => row.map((v) => 2.5 * v)),
    );
  });
  it('vocab adds a row for each position', () => {
    const { outputs, parameters: p } = runBlock(vocab({ vocabSize: 7, seqLen: 11, dim: 5 }), { ids, position_ids: places });
    expect(Object.keys(p)).toEqual(['word_embeddings.weight', 'position_embeddings.weight']);
    const at = (i: number, c: number) => p['position_embeddings.weight']!.data[places.data[i]! * 5 + c]!;
    expectClose(
      outputs.y!,
      gathered(p['word_embeddings.weight']!, (row, i) => row.map((v, c) => v + at(i, c))),
    );
  });
  it('vocab widens narrow words, not their positions', () => {
    const block = vocab({ vocabSize: 7, seqLen: 11, dim: 5, wordDim: 3 });
    const { outputs, parameters: p } = runBlock(block, { ids, position_ids: places });
    expect(Object.entries(p).map(([name, { dims }]) => `${name} ${dims}`)).toEqual([
      'word_embeddings.weight 7,3',
      'word_projection.weight 5,3',
      'position_embeddings.weight 11,5',
    ]);
    const [words, wide, positions] = Object.values(p) as [NDArray, NDArray, NDArray];
    const data = Array.from(ids.data, (id, i) =>
      [0, 1, 2, 3, 4].map((c) =>
        [0, 1, 2].reduce(
          (sum, j) => sum + wide.data[c * 3 + j]! * words.data[id * 3 + j]!,
          positions.data[places.data[i]! * 5 + c]!,
        ),
      ),
    );
    expectClose(outputs.y!, { dtype: 'float32', dims: [2, 3, 5], data: Float64Array.from(data.flat()) });
  });
  it('vocab counts padding if it should', () => {
    const mask: NDArray = { dtype: 'int64', dims: [2, 3], data: Float64Array.of(0, 1, 1, 1, 0, 0) };
    const rowsOf = (countPadding: boolean) => {
      const block = vocab({ vocabSize: 7, seqLen: 3, dim: 5, countPadding });
      const { outputs, parameters: p } = runBlock(block, { ids, attention_mask: mask });
      const table = p['position_embeddings.weight']!.data;
      return Array.from(ids.data, (id, i) => {
        const added = outputs.y!.data[i * 5]! - p['word_embeddings.weight']!.data[id * 5]!;
        return [0, 1, 2].findIndex((t) => Math.abs(table[t * 5]! - added) < 1e-9);
      });
    };
    expect(rowsOf(true)).toEqual([0, 1, 2, 0, 1, 2]);
    expect(rowsOf(false)).toEqual([0, 0, 1, 0, 0, 0]);
    expect(() => vocab({ vocabSize: 7, seqLen: 3, dim: 5, positionOffset: 2, padId: 1, countPadding: true })).toThrow(/got both/);
  });
  it('an id outside of the table is an error', () => {
    expect(() => runBlock(token({ vocabSize: 6, dim: 5 }), { ids })).toThrow(/6/);
    expect(() => token({ vocabSize: 0, dim: 5 })).toThrow(ConfigError);
  });
});
