import { ConfigError, type NDArray, ShapeError } from '@onnxformers/core';
import { expectClose, randomArray, runBlock, traceBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { waveformStem } from './index';

/** [channels][positions] of one sequence. */
type Rows = readonly (readonly number[])[];

const erf = (x: number): number => {
  // A series that converges for the arguments of this test.
  let [sum, term] = [x, x];
  for (let n = 1; n < 60; n++) {
    term *= (-x * x) / n;
    sum += term / (2 * n + 1);
  }
  return (2 / Math.sqrt(Math.PI)) * sum;
};
const gelu = (x: number): number => 0.5 * x * (1 + erf(x / Math.SQRT2));

function convolved(x: Rows, weight: NDArray, bias: NDArray | undefined, stride: number, f: (x: number) => number): Rows {
  const [to, from, size] = weight.dims as [number, number, number];
  const length = Math.floor((x[0]!.length - size) / stride) + 1;
  return Array.from({ length: to }, (_, o) =>
    Array.from({ length }, (_, t) => {
      let sum = bias?.data[o] ?? 0;
      for (let c = 0; c < from; c++)
        for (let i = 0; i < size; i++) sum += weight.data[(o * from + c) * size + i]! * x[c]![t * stride + i]!;
      return f(sum);
    }),
  );
}

function normalised(x: Rows, weight: NDArray, bias: NDArray, eps: number): Rows {
  const all = x.flat();
  const mean = all.reduce((a, b) => a + b, 0) / all.length;
  const variance = all.reduce((a, b) => a + (b - mean) ** 2, 0) / all.length;
  return x.map((row, c) => row.map((v) => ((v - mean) / Math.sqrt(variance + eps)) * weight.data[c]! + bias.data[c]!));
}

describe('waveform_stem', () => {
  it.each([
    { kernelSizes: [5, 3, 2], strides: [3, 1, 2], seq: 29, inChannels: 2, eps: 0.5 },
    { kernelSizes: [4, 2, 3], strides: [1, 2, 1], seq: 9, inChannels: 1, eps: 1e-5 },
  ])('convolves three times with kernels $kernelSizes and strides $strides', ({ seq, inChannels, eps, ...c }) => {
    const features = randomArray('features', [2, seq, inChannels]);
    const { outputs, parameters: p } = runBlock(waveformStem({ ...c, inChannels, eps, dim: 3 }), { features });
    const wanted = [0, 1].flatMap((b) => {
      const samples = Array.from({ length: inChannels }, (_, channel) =>
        Array.from({ length: seq }, (_, t) => features.data[(b * seq + t) * inChannels + channel]!),
      );
      const [s1, s2, s3] = c.strides as [number, number, number];
      const first = convolved(samples, p['conv1.weight']!, undefined, s1, Math.tanh);
      const normed = normalised(first, p['groupnorm.weight']!, p['groupnorm.bias']!, eps);
      const second = convolved(normed, p['conv2.weight']!, p['conv2.bias']!, s2, gelu);
      const third = convolved(second, p['conv3.weight']!, p['conv3.bias']!, s3, gelu);
      return third[0]!.flatMap((_, t) => third.map((row) => row[t]!));
    });
    const dims = [2, wanted.length / 6, 3];
    expectClose(outputs.y!, { dtype: 'float32', dims, data: Float64Array.from(wanted) }, { atol: 1e-6, rtol: 1e-6 });
  });

  it('refuses padding, other channels and sounds shorter than one position', () => {
    const block = waveformStem({ kernelSizes: [5, 3, 2], strides: [3, 1, 2], dim: 3 });
    const features = ['float32', ['batch', 'seq', 1]] as const;
    expect(() => traceBlock(block, { features, attention_mask: ['int64', ['batch', 'seq']] })).toThrow(ConfigError);
    expect(() => traceBlock(block, { features: ['float32', ['batch', 'seq', 2]] })).toThrow(ShapeError);
    // 5 + 2 · 3 + 1 · 3
    expect(() => runBlock(block, { features: randomArray('features', [1, 13, 1]) })).toThrow(/fewer samples than/);
    expect(runBlock(block, { features: randomArray('features', [1, 14, 1]) }).outputs.y!.dims).toEqual([1, 1, 3]);
  });
});
