import {
  ConfigError,
  interpret,
  module,
  type NDArray,
  type SequenceContext,
  ShapeError,
  type Value,
  withPrefix,
} from '@onnxformers/core';
import { expectClose, randomArray, randomParameters, runBlock, traceBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { patch } from './index';

interface Sizes {
  readonly kernelSize: number;
  readonly stride: number;
  readonly padding: number;
}

/** Each patch times each row of the weight, in plain loops. */
function patches(pixels: NDArray, weight: NDArray, bias: NDArray, { kernelSize, stride, padding }: Sizes): NDArray {
  const [batch, channels, height, width] = pixels.dims as [number, number, number, number];
  const dim = bias.dims[0]!;
  const [rows, columns] = [height, width].map((n) => Math.floor((n + 2 * padding - kernelSize) / stride) + 1) as [number, number];
  const data: number[] = [];
  for (let b = 0; b < batch; b++)
    for (let r = 0; r < rows; r++)
      for (let c = 0; c < columns; c++)
        for (let o = 0; o < dim; o++) {
          let sum = bias.data[o]!;
          for (let ch = 0; ch < channels; ch++)
            for (let i = 0; i < kernelSize; i++)
              for (let j = 0; j < kernelSize; j++) {
                const [y, x] = [r * stride + i - padding, c * stride + j - padding];
                if (y < 0 || x < 0 || y >= height || x >= width) continue;
                sum +=
                  weight.data[((o * channels + ch) * kernelSize + i) * kernelSize + j]! *
                  pixels.data[((b * channels + ch) * height + y) * width + x]!;
              }
          data.push(sum);
        }
  return { dtype: 'float32', dims: [batch, rows * columns, dim], data: Float64Array.from(data) };
}

describe('patch', () => {
  it.each([
    [{ kernelSize: 2 }, { kernelSize: 2, stride: 2, padding: 0 }],
    [
      { kernelSize: 3, stride: 2 },
      { kernelSize: 3, stride: 2, padding: 0 },
    ],
    [
      { kernelSize: 3, stride: 1, padding: 1 },
      { kernelSize: 3, stride: 1, padding: 1 },
    ],
    [
      { kernelSize: 5, padding: 2 },
      { kernelSize: 5, stride: 5, padding: 2 },
    ],
  ])('%o is what plain loops compute', (config, sizes) => {
    const pixels = randomArray('pixels', [2, 3, 11, 7]);
    const { outputs, parameters } = runBlock(patch({ ...config, dim: 5 }), { pixels });
    expectClose(outputs.y!, patches(pixels, parameters['proj.weight']!, parameters['proj.bias']!, sizes), { atol: 1e-12 });
  });

  it('tells the layers the grid and the positions of the patches, and takes a class token before them', () => {
    const inner = patch({ kernelSize: 2, dim: 5 });
    const seen: SequenceContext[] = [];
    const reader = module({ inner }, ({ pixels }: Readonly<Record<string, Value>>, ctx: SequenceContext) => {
      const given = inner(pixels!, ctx);
      if (!('ctx' in given)) throw new Error('a context is missing');
      seen.push(given.ctx, withPrefix(given.ctx, { count: 1, before: given.hiddenStates.dims[1]! }));
      return { positions: given.ctx.positions, behind: seen[1]!.positions };
    });
    const { outputs } = runBlock(reader, { pixels: randomArray('pixels', [1, 3, 4, 7]) });
    expect(seen[0]!.grid).toEqual([2, 3]);
    expect(Array.from(outputs.positions!.data)).toEqual([0, 1, 2, 3, 4, 5]);
    expect(Array.from(outputs.behind!.data)).toEqual([0, 1, 2, 3, 4, 5, 6]);
  });

  it('fills the edge with zeros, and leaves the bias out', () => {
    const block = patch({ kernelSize: 4, dim: 5, fillEdge: true, bias: false });
    const pixels = randomArray('pixels', [1, 3, 6, 9]);
    const { outputs, parameters: p } = runBlock(block, { pixels });
    expect(Object.keys(p)).toEqual(['proj.weight']);
    const data = Float64Array.from({ length: 3 * 8 * 12 }, (_, i) => {
      const [c, y, x] = [Math.floor(i / 96), Math.floor(i / 12) % 8, i % 12];
      return y < 6 && x < 9 ? pixels.data[(c * 6 + y) * 9 + x]! : 0;
    });
    const whole: NDArray = { dtype: 'float32', dims: [1, 3, 8, 12], data };
    const bias: NDArray = { dtype: 'float32', dims: [5], data: new Float64Array(5) };
    expectClose(outputs.y!, patches(whole, p['proj.weight']!, bias, { kernelSize: 4, stride: 4, padding: 0 }));
    expect(() => patch({ kernelSize: 4, dim: 5, stride: 2, fillEdge: true })).toThrow(/fillEdge: .*side by side/);
  });

  it('has a symbolic grid for an image of any size', () => {
    const graph = traceBlock(patch({ kernelSize: 4, dim: 5 }), { pixels: ['float32', ['batch', 3, 'height', 'width']] });
    expect(graph.outputs[0]!.value.dims).toEqual(['batch', 'floorDiv(height, 4)*floorDiv(width, 4)', 5]);
  });

  it('refuses other channels and padding of the image', () => {
    expect(() => traceBlock(patch({ kernelSize: 2, dim: 5 }), { pixels: ['float32', [1, 4, 6, 6]] })).toThrow(ShapeError);
    expect(() =>
      traceBlock(patch({ kernelSize: 2, dim: 5 }), { pixels: ['float32', [1, 3, 6, 6]], lengths: ['int64', [1]] }),
    ).toThrow(ConfigError);
  });
});

describe('an image and a patch that do not fit', () => {
  it('refuses a padding of a whole patch', () => {
    expect(() => patch({ kernelSize: 3, padding: 3, dim: 5 })).toThrow(
      /^patch\.padding: patches at the edge would contain nothing of the image; expected less than kernelSize = 3, got 3/,
    );
  });
  it('refuses an image smaller than a patch before it runs', () => {
    const m = patch({ kernelSize: 5, padding: 1, dim: 7 });
    const graph = traceBlock(m, { pixels: ['float32', ['batch', 3, 'height', 'width']] });
    const pixels = randomArray('pixels', [2, 3, 11, 2]);
    expect(() => interpret(graph, { pixels }, { parameters: randomParameters(m).of })).toThrow(
      /pixels: an image smaller than a patch; expected 5 or more, by patch\.kernelSize, got 4 \(width \+ 2\)/,
    );
  });
});
