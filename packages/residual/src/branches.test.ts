import { initialize, type NDArray } from '@onnxformers/core';
import { expectClose, randomArray, runBlock, traceBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { parallel, postNorm, preNorm } from './index';
import { layerNormed, mapRow, meanMixer, plus, rowMap, rowsOf } from './plain.test-helper';

const [dim, batch, seq] = [5, 3, 2];
const x = randomArray('x', [batch, seq, dim]);
const feedforward = () => rowMap({ dim });
const normed = (row: readonly number[], p: Readonly<Record<string, NDArray>>, name = 'norm2') =>
  layerNormed(row, p[`${name}.weight`]!, p[`${name}.bias`], 1e-5);

describe('layerScale', () => {
  it('multiplies the channels of a result by learned factors', () => {
    const { outputs, parameters: p } = runBlock(preNorm({ dim, feedforward: feedforward(), layerScale: 0.1 }), { x });
    const factors = p['layer_scale.feedforward.weight']!;
    expect(factors.dims).toEqual([dim]);
    const y = rowsOf(x).map((row) => {
      const result = mapRow(normed(row, p), p['feedforward.map.weight']!);
      return plus(
        row,
        result.map((v, c) => v * factors.data[c]!),
      );
    });
    expectClose(outputs.y!, { ...x, data: Float64Array.from(y.flat()) });
  });
  it('starts at its value', async () => {
    const weights = initialize(postNorm({ dim, feedforward: feedforward(), layerScale: 0.25 }), { seed: 3 });
    expect((await weights.get('layer_scale.feedforward.weight')!.load()).data).toEqual(new Float32Array(dim).fill(0.25));
  });
});

describe('stochasticDepth', () => {
  const p = 0.4;
  const noise: NDArray = { dtype: 'float32', dims: [batch], data: Float64Array.of(0.1, 0.5, 0.9) };
  const layer = () => preNorm({ dim, feedforward: feedforward(), stochasticDepth: p });

  it('leaves out the sub-layer for whole sequences, and weighs the others', () => {
    const { outputs, parameters } = runBlock(layer(), { x }, { training: true, draws: { stochastic_depth: noise } });
    const y = rowsOf(x).map((row, i) => {
      const kept = noise.data[Math.floor(i / seq)]! >= p;
      const result = mapRow(normed(row, parameters), parameters['feedforward.map.weight']!);
      return kept ? plus(row, result, [1, 1 / (1 - p)]) : row;
    });
    // 1 − probability is rounded to float32.
    expectClose(outputs.y!, { ...x, data: Float64Array.from(y.flat()) }, { rtol: 1e-6, atol: 1e-6 });
  });

  it('is the same for packed sequences, also for one without tokens', () => {
    const lengths = [2, 0, 3];
    const tokens = randomArray('tokens', [5, dim]);
    const { outputs, parameters } = runBlock(
      layer(),
      { x: tokens, lengths: { dtype: 'int64', dims: [3], data: Float64Array.from(lengths) } },
      {
        layout: 'packed',
        training: true,
        draws: {
          stochastic_depth: { ...noise, data: Float64Array.of(0.1, 0.1, 0.9) },
          offsets_of_lengths: { dtype: 'int64', dims: [4], data: Float64Array.of(0, 2, 2, 5) },
        },
      },
    );
    const y = rowsOf(tokens).map((row, i) =>
      i < 2 ? row : plus(row, mapRow(normed(row, parameters), parameters['feedforward.map.weight']!), [1, 1 / (1 - p)]),
    );
    expectClose(outputs.y!, { ...tokens, data: Float64Array.from(y.flat()) }, { rtol: 1e-6, atol: 1e-6 });
  });

  it('is nothing in inference, and drawn for each sub-layer in training', () => {
    const draws = (training: boolean) =>
      traceBlock(
        parallel({ dim, mixer: meanMixer({ dim }), feedforward: feedforward(), stochasticDepth: p }),
        { x: ['float32', ['batch', 'seq', dim]] },
        { training },
      ).inputs.length;
    expect(draws(false)).toBe(1);
    expect(draws(true)).toBe(3);
  });
});
