import type { NDArray } from '@onnxformers/core';
import { expectClose, randomArray, runBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { attention, dot, perHead, type Rows } from '../plain.test-helper';
import { orthoformer } from './orthoformer';

const feeds = (seq: number, kvSeq = seq) => ({
  q: randomArray('q', [2, 6, seq, 3]),
  k: randomArray('k', [2, 2, kvSeq, 3]),
  v: randomArray('v', [2, 2, kvSeq, 5]),
});
const floats = (dims: number[], data: readonly number[]): NDArray => ({ dtype: 'float32', dims, data: Float64Array.from(data) });
const through = (q: Rows, k: Rows, v: Rows, z: Rows) => attention(q, z, attention(z, k, v));
const unit = (x: readonly number[]): number[] => x.map((value) => value / Math.max(Math.hypot(...x), 1e-12));

function orthogonal(q: Rows, first: number, count: number): Rows {
  const units = q.map(unit);
  const chosen = [first];
  while (chosen.length < count) {
    const largest = units.map((u, i) => (chosen.includes(i) ? 2 : Math.max(...chosen.map((c) => Math.abs(dot(u, units[c]!))))));
    chosen.push(largest.indexOf(Math.min(...largest)));
  }
  return chosen.map((i) => q[i]!);
}

function means(q: Rows, first: readonly number[], spherical: boolean): Rows {
  const rows = spherical ? q.map(unit) : q;
  let centres: Rows = first.map((i) => rows[i]!);
  for (let i = 0; i < 6; i++) {
    const near = (row: readonly number[]): number => {
      const far = centres.map((c) => (spherical ? -dot(row, c) : c.reduce((sum, x, d) => sum + (x - row[d]!) ** 2, 0)));
      return far.indexOf(Math.min(...far));
    };
    const at = rows.map(near);
    centres = centres.map((c, n) => {
      const own = rows.filter((_, r) => at[r] === n);
      const mean = c.map((_, d) => own.reduce((sum, row) => sum + row[d]!, 0) / (own.length + 1e-6));
      return spherical ? unit(mean) : mean;
    });
  }
  return centres;
}

describe('orthoformer', () => {
  const seq = 13;

  it.each([1, 2, 5])('chooses %i orthogonal landmarks from a drawn one', (landmarks) => {
    const given = feeds(seq, 17);
    const firsts = [3, 0, 12, 7, 7, 1];
    const first = floats(
      [1, 6],
      firsts.map((i) => (i + 0.5) / seq),
    );
    const { y } = runBlock(orthoformer({ landmarks, redraw: true }), given, { draws: { first } }).outputs;
    expectClose(
      y!,
      perHead(given.q, given.k, given.v, (q, k, v, _, h) => through(q, k, v, orthogonal(q, firsts[h]!, landmarks))),
    );
  });

  it('chooses them from a share of the queries', () => {
    const given = feeds(seq);
    // ⌊0.6 · 13⌋ of them, one twice
    const sampled = [4, 9, 0, 9, 11, 2, 7];
    const draws = {
      sample: floats(
        [7],
        sampled.map((i) => (i + 0.5) / seq),
      ),
      first: floats([1, 6], new Array(6).fill(0.3)),
    };
    const { y } = runBlock(orthoformer({ landmarks: 4, subsample: 0.6, redraw: true }), given, { draws }).outputs;
    expectClose(
      y!,
      perHead(given.q, given.k, given.v, (q, k, v) =>
        through(
          q,
          k,
          v,
          orthogonal(
            sampled.map((i) => q[i]!),
            2,
            4,
          ),
        ),
      ),
    );
  });

  it.each(['kmeans', 'kmeans_spherical'] as const)('takes means: %s', (selection) => {
    const given = feeds(seq);
    // The largest are at 5, 12 and 0.
    const order = floats(
      [seq],
      Array.from({ length: seq }, (_, i) => ({ 5: 0.99, 12: 0.98, 0: 0.97 })[i] ?? i / 100),
    );
    const { y } = runBlock(orthoformer({ landmarks: 3, selection, redraw: true }), given, { draws: { order } }).outputs;
    expectClose(
      y!,
      perHead(given.q, given.k, given.v, (q, k, v) => through(q, k, v, means(q, [5, 12, 0], selection !== 'kmeans'))),
    );
  });

  it.each([
    [undefined, [1, 8, 4], [3, 16]],
    ['xformers', [1, 8], [3, 16]],
  ] as const)('takes random queries and keys, compat: %s', (compat, queries, keys) => {
    const given = feeds(seq, 17);
    const draws = {
      queries: floats(
        [queries.length],
        queries.map((i) => (i + 0.5) / seq),
      ),
      keys: floats(
        [2],
        keys.map((i) => (i + 0.5) / 17),
      ),
    };
    const block = orthoformer({ landmarks: 5, selection: 'random', redraw: true, ...(compat && { compat }) });
    const { y } = runBlock(block, given, { draws }).outputs;
    expectClose(
      y!,
      perHead(given.q, given.k, given.v, (q, k, v) =>
        through(q, k, v, [...queries.map((i) => q[i]!), ...keys.map((i) => k[i]!)]),
      ),
    );
  });

  it.each(['orthogonal', 'kmeans', 'kmeans_spherical', 'random'] as const)('is exact with enough landmarks: %s', (selection) => {
    const given = feeds(7, 11);
    const { y } = runBlock(orthoformer({ landmarks: 7, selection }), given).outputs;
    expectClose(
      y!,
      perHead(given.q, given.k, given.v, (q, k, v) => attention(q, k, v)),
    );
  });

  it('chooses the same in every run, and others for another seed', () => {
    const y = (seed: number) => runBlock(orthoformer({ landmarks: 3, seed }), feeds(seq)).outputs.y!;
    expectClose(y(1), y(1));
    expect(() => expectClose(y(1), y(2))).toThrow(/differ/);
  });

  it('refuses masks and biases, and an unknown length for a share of the queries', () => {
    const mask = { dtype: 'bool', dims: [1, 1, 7, 7], data: new Float64Array(49).fill(1) } as const;
    expect(() => runBlock(orthoformer({}), { ...feeds(7), attention_mask: mask })).toThrow(
      /orthoformer does not support the mask: dense/,
    );
    const attention_bias = randomArray('bias', [1, 6, 7, 7]);
    expect(() => runBlock(orthoformer({}), { ...feeds(7), attention_bias })).toThrow(
      /landmarks are chosen from all positions.*got an attention bias/,
    );
  });
});
