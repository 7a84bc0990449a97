import { ConfigError, type NDArray, ShapeError } from '@onnxformers/core';
import { expectClose, randomArray, runBlock, traceBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { convStem } from './index';

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

/** gelu(conv(x)) over frames [batch, seq, from], in plain loops. */
function convolved(x: NDArray, weight: NDArray, bias: NDArray, stride: number): NDArray {
  const [batch, seq, from] = x.dims as [number, number, number];
  const to = bias.dims[0]!;
  const length = Math.ceil(seq / stride);
  const data: number[] = [];
  for (let b = 0; b < batch; b++)
    for (let t = 0; t < length; t++)
      for (let o = 0; o < to; o++) {
        let sum = bias.data[o]!;
        for (let c = 0; c < from; c++)
          for (let i = 0; i < 3; i++) {
            const at = t * stride + i - 1;
            if (at >= 0 && at < seq) sum += weight.data[(o * from + c) * 3 + i]! * x.data[(b * seq + at) * from + c]!;
          }
        data.push(gelu(sum));
      }
  return { dtype: 'float32', dims: [batch, length, to], data: Float64Array.from(data) };
}

describe('conv_stem', () => {
  it.each([
    [1, 4],
    [2, 1],
    [2, 7],
    [2, 8],
    [3, 7],
  ])('convolves twice, the second time with stride %d, on %d frames', (stride, seq) => {
    const block = convStem({ inChannels: 3, stride, dim: 5 });
    const features = randomArray('features', [2, seq, 3]);
    const { outputs, parameters: p } = runBlock(block, { features });
    const once = convolved(features, p['conv1.weight']!, p['conv1.bias']!, 1);
    expectClose(outputs.y!, convolved(once, p['conv2.weight']!, p['conv2.bias']!, stride), { atol: 1e-6, rtol: 1e-6 });
  });

  it('refuses padding, other channels and no frames', () => {
    const block = convStem({ inChannels: 3, dim: 5 });
    const features = ['float32', ['batch', 'seq', 3]] as const;
    expect(() => traceBlock(block, { features, attention_mask: ['int64', ['batch', 'seq']] })).toThrow(ConfigError);
    expect(() => traceBlock(block, { features: ['float32', ['batch', 'seq', 4]] })).toThrow(ShapeError);
    expect(() => runBlock(block, { features: randomArray('features', [1, 0, 3]) })).toThrow(/a sequence without frames/);
  });
});
