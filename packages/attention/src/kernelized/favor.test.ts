import { type Dim, type DType, type NDArray, targets, toArray } from '@onnxformers/core';
import { expectClose as close, footprint, lowerBlock, randomArray, runBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { attention, dot, perHead, type Rows, turned } from '../plain.test-helper';
import { favor } from './favor';
import { featureMaps, randomDirections } from './random-features';

const headDim = 3;
const feeds = (seq: number, kvSeq = seq, scale = 1) => {
  const scaled = (x: NDArray): NDArray => ({ ...x, data: x.data.map((v) => v * scale) });
  return {
    q: scaled(randomArray('q', [2, 6, seq, headDim])),
    k: scaled(randomArray('k', [2, 2, kvSeq, headDim])),
    v: randomArray('v', [2, 2, kvSeq, 5]),
  };
};
const rows = ({ data, dims }: NDArray): number[][] =>
  Array.from({ length: dims[0]! }, (_, i) => [...data.slice(i * dims[1]!, (i + 1) * dims[1]!)]);

// The scale of the scores is a constant of float32.
const expectClose = (got: NDArray, expected: NDArray): void => close(got, expected, { rtol: 1e-6, atol: 1e-6 });

/** The estimate over the keys that are allowed, by the formula. */
const estimate =
  (directions: Rows, map: (typeof featureMaps)[number], allowed: (i: number, j: number) => boolean = () => true) =>
  (q: Rows, k: Rows, v: Rows): number[][] => {
    const features = (x: readonly number[]): number[] => {
      const scaled = x.map((value) => value * headDim ** -0.25);
      const products = turned(directions).map((w) => dot(w, scaled));
      const signed = map === 'orthogonal' ? products : [...products, ...products.map((p) => -p)];
      return signed.map((p) => Math.exp(p - dot(scaled, scaled) / 2));
    };
    const [ofQueries, ofKeys] = [q.map(features), k.map(features)];
    return ofQueries.map((query, i) => {
      const weights = ofKeys.map((key, j) => (allowed(i, j) ? dot(query, key) : 0));
      const sum = weights.reduce((a, b) => a + b, 0);
      return v[0]!.map((_, c) => (sum ? weights.reduce((y, w, j) => y + w * v[j]![c]!, 0) / sum : 0));
    });
  };

describe('favor', () => {
  it.each(featureMaps)('is what plain loops give: %s', (map) => {
    const given = feeds(7, 11);
    const { outputs, parameters } = runBlock(favor({ headDim, features: 4, map }), given);
    expectClose(outputs.y!, perHead(given.q, given.k, given.v, estimate(rows(parameters.features!), map)));
  });

  // Within one chunk of 64 positions, at its end, and beyond two of them.
  it.each([7, 64, 131])('is causal over %i positions', (seq) => {
    const given = feeds(seq);
    const { outputs, parameters } = runBlock(favor({ headDim, features: 4, causal: true }), given);
    const expected = estimate(rows(parameters.features!), 'regularized', (i, j) => j <= i);
    expectClose(outputs.y!, perHead(given.q, given.k, given.v, expected));
  });

  it('gives the last queries of a causal sequence the same results', () => {
    const whole = feeds(71);
    const { outputs, parameters } = runBlock(favor({ headDim, features: 4, causal: true }), {
      ...whole,
      q: randomArray('q', [2, 6, 5, headDim]),
    });
    const expected = estimate(rows(parameters.features!), 'regularized', (i, j) => j <= i + 66);
    expectClose(outputs.y!, perHead(randomArray('q', [2, 6, 5, headDim]), whole.k, whole.v, expected));
  });

  it('sums over real keys only, whatever the others are', () => {
    const given = feeds(11);
    const lengths = [7, 0];
    // Features of hidden keys would overflow.
    for (let i = 0; i < given.k.data.length; i++)
      if (Math.floor(i / headDim) % 11 >= lengths[Math.floor(i / (2 * 11 * headDim))]!) given.k.data[i]! *= 1e4;
    const more = { lengths: { dtype: 'int64', dims: [2], data: Float64Array.from(lengths) } } as const;
    const { outputs, parameters } = runBlock(
      favor({ headDim, features: 4 }),
      { ...given, ...more },
      { assumptions: ['finite padding'] },
    );
    const directions = rows(parameters.features!);
    expectClose(
      outputs.y!,
      perHead(given.q, given.k, given.v, (q, k, v, b) => estimate(directions, 'regularized', (_, j) => j < lengths[b]!)(q, k, v)),
    );
  });

  it.each(featureMaps)('has directions that are orthogonal in blocks, and estimates softmax attention: %s', (map) => {
    const size = { headDim, features: 400, map };
    const directions = rows(toArray(randomDirections(size, 5)));
    const columns = turned(directions);
    for (let i = 0; i + 2 < columns.length; i += 3)
      for (const [a, b] of [
        [0, 1],
        [0, 2],
        [1, 2],
      ] as const)
        expect(Math.abs(dot(columns[i + a]!, columns[i + b]!))).toBeLessThan(1e-5);
    if (map === 'regularized') for (const w of columns) expect(dot(w, w)).toBeCloseTo(headDim, 4);
    // Small scores, so that few features are enough.
    const given = feeds(7, 11, 0.5);
    const exact = perHead(given.q, given.k, given.v, (q, k, v) => attention(q, k, v));
    const got = perHead(given.q, given.k, given.v, estimate(directions, map));
    const furthest = Math.max(...got.data.map((x, i) => Math.abs(x - exact.data[i]!)));
    const spread = Math.max(...exact.data) - Math.min(...exact.data);
    expect(furthest).toBeLessThan(0.05 * spread);
  });

  it('has other directions after so many runs, orthogonal ones', () => {
    const given = feeds(7);
    const y = (run: number) =>
      runBlock(favor({ headDim, features: 8, redraw: 3 }), given, {
        draws: { run: { dtype: 'int64', dims: [], data: Float64Array.of(run) } },
      }).outputs.y!;
    expectClose(y(0), y(2));
    expectClose(y(3), y(5));
    expect(() => expectClose(y(2), y(3))).toThrow(/differ/);
  });

  it("has running means of channels with causal and compat: 'xformers'", () => {
    const given = feeds(7);
    const { y } = runBlock(favor({ headDim, features: 4, causal: true, compat: 'xformers' }), given).outputs;
    const mean = (_: Rows, __: Rows, v: Rows) =>
      v.map((row) => row.map((___, c) => row.slice(0, c + 1).reduce((a, b) => a + b, 0) / (c + 1)));
    expectClose(y!, perHead(given.q, given.k, given.v, mean));
  });

  it.each([false, true])('has no value for all pairs of positions, causal: %s', (causal) => {
    const shape = (heads: number, width: number): [DType, Dim[]] => ['float32', ['batch', heads, 'seq', width]];
    const inputs = { q: shape(2, headDim), k: shape(2, headDim), v: shape(2, 5) };
    const { graph } = lowerBlock(favor({ headDim, features: 4, causal }), inputs, targets.portable(21), {
      sizes: { batch: 2, seq: 13 },
    });
    const [short, long] = [2048, 8192].map((seq) => footprint(graph, { batch: 1, seq }).largest.at) as [number, number];
    expect(long).toBeLessThan(4.1 * short);
  });

  it('refuses an odd number of paired features, and other widths', () => {
    expect(() => favor({ headDim, features: 5 })).toThrow(/features: the map regularized makes two features of each direction/);
    expect(() => runBlock(favor({ headDim: 5, features: 4 }), feeds(7))).toThrow(/headDim: differs from the width/);
  });
});
