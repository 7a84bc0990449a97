import { ConfigError, type NDArray, namesOf, ShapeError } from '@onnxformers/core';
import { expectClose, randomArray, runBlock, traceBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { squaredRelu } from './activations/squared-relu';
import { conv2dFeedforward } from './conv2d-feedforward';
import { mapRow, perRow } from './plain.test-helper';

const squared = (v: number) => Math.max(v, 0) ** 2;
const [batch, rows, columns] = [2, 3, 5];

const flat = (w: NDArray): NDArray => ({ ...w, dims: w.dims.slice(0, 2) });

/** The sum over the neighbours of each cell, each channel with its own kernel, in plain loops. */
function neighbours(h: NDArray, kernel: NDArray, bias: NDArray, across: boolean): NDArray {
  const [channels, , size] = kernel.dims as [number, number, number];
  const data = new Float64Array(h.data.length);
  const reach = (size - 1) / 2;
  for (let b = 0; b < batch; b++)
    for (let r = 0; r < rows; r++)
      for (let c = 0; c < columns; c++)
        for (let ch = 0; ch < channels; ch++) {
          let sum = bias.data[ch]!;
          for (let i = -reach; i <= reach; i++)
            for (let j = -reach; j <= reach; j++) {
              const [y, x] = across ? [r + j, c + i] : [r + i, c + j];
              if (y < 0 || x < 0 || y >= rows || x >= columns) continue;
              const weight = kernel.data[(ch * size + i + reach) * size + j + reach]!;
              sum += weight * h.data[((b * rows + y) * columns + x) * channels + ch]!;
            }
          data[((b * rows + r) * columns + c) * channels + ch] = sum;
        }
  return { ...h, data };
}

describe('conv2d_feedforward', () => {
  it.each([
    { dim: 7, hidden: 11, outDim: 3 },
    { dim: 5, hidden: 7, kernelSize: 5, kernelAxis: 'columns' as const },
  ])('agrees with plain loops: %o', (config) => {
    const x = randomArray('x', [batch, rows * columns, config.dim]);
    const block = conv2dFeedforward({ ...config, grid: [rows, columns], activation: squaredRelu({}) });
    const { outputs, parameters: p } = runBlock(block, { x });
    const h = perRow(x, (row) => mapRow(row, flat(p['up.weight']!), p['up.bias']));
    const mixed = neighbours(h, p['depthwise.weight']!, p['depthwise.bias']!, config.kernelAxis === 'columns');
    const expected = perRow(mixed, (row) => mapRow(row.map(squared), flat(p['down.weight']!), p['down.bias']));
    expectClose(outputs.y!, expected);
  });

  it('reads a square number of positions as a square', () => {
    const given = { dim: 5, activation: squaredRelu({}) };
    const x = randomArray('x', [2, 9, 5]);
    const [square, said] = [conv2dFeedforward(given), conv2dFeedforward({ ...given, grid: [3, 3] })];
    expectClose(runBlock(square, { x }).outputs.y!, runBlock(said, { x }).outputs.y!);
  });

  it('keeps the names and dims of convolutions', () => {
    const names = [...namesOf(conv2dFeedforward({ dim: 5, hidden: 7 })).parameters].map(([name, p]) => `${name} ${p.dims}`);
    expect(names).toEqual([
      'up.weight 7,5,1,1',
      'up.bias 7',
      'depthwise.weight 7,1,3,3',
      'depthwise.bias 7',
      'down.weight 5,7,1,1',
      'down.bias 5',
    ]);
  });

  it('refuses what is not an image', () => {
    const trace = (seq: number | string, grid?: readonly number[]) =>
      traceBlock(conv2dFeedforward({ dim: 5, ...(grid && { grid }) }), { x: ['float32', [2, seq, 5]] });
    expect(() => trace(8)).toThrow(ShapeError);
    expect(() => trace('seq')).toThrow(/rows and columns of the positions are not known/);
    expect(() => trace(10, [3, 3])).toThrow(/do not fill the grid; expected 3 · 3 positions, got 10 positions/);
    expect(() => conv2dFeedforward({ dim: 5, kernelSize: 4 })).toThrow(ConfigError);
  });
});
