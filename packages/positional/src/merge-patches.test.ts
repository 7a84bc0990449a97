import {
  ConfigError,
  contextOfHiddenStates,
  defineBlock,
  init,
  module,
  Parameter,
  type SequenceContext,
  ShapeError,
  type Value,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { expectClose, randomArray, runBlock, traceBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { mergePatches } from './merge-patches';
import { patch } from './patch';

describe('merge_patches', () => {
  it.each([
    { kernelSize: 2, stride: 2, padding: 0 },
    { kernelSize: 3, stride: 2, padding: 1 },
    { kernelSize: 3, stride: 1, padding: 0 },
  ])('is the patch embedding of an image of the positions: %o', (squares) => {
    const [batch, rows, columns, dim, outDim] = [2, 5, 7, 3, 11];
    const x = randomArray('x', [batch, rows * columns, dim]);
    const merged = runBlock(mergePatches({ dim, outDim, grid: [rows, columns], ...squares }), { x });
    const pixels = {
      ...x,
      dims: [batch, dim, rows, columns],
      data: x.data.map((_, i) => x.data[placeOf(i, rows * columns, dim)]!),
    };
    const inner = patch({ inChannels: dim, dim: outDim, ...squares });
    const embedded = runBlock(inner, { pixels });
    expect(Object.entries(embedded.parameters).map(([name, p]) => `${name} ${p.dims}`)).toEqual(
      Object.entries(merged.parameters).map(([name, p]) => `${name} ${p.dims}`),
    );
    expectClose(merged.outputs.y!, embedded.outputs.y!);
  });

  // The element of [batch, positions, dim] at an index of [batch, dim, positions].
  function placeOf(i: number, positions: number, dim: number): number {
    const [b, c, p] = [Math.floor(i / positions / dim), Math.floor(i / positions) % dim, i % positions];
    return (b * positions + p) * dim + c;
  }

  it('with a norm reads the cells of a square column by column, and fills the edge with zeros', () => {
    const [rows, columns, dim, outDim] = [3, 5, 2, 7];
    const x = randomArray('x', [1, rows * columns, dim]);
    const norm = scaled(4 * dim);
    const { outputs, parameters: p } = runBlock(
      mergePatches({ dim, outDim, kernelSize: 2, bias: false, grid: [rows, columns], norm }),
      { x },
    );
    const at = (r: number, c: number) =>
      Array.from({ length: dim }, (_, i) => (r < rows && c < columns ? x.data[(r * columns + c) * dim + i]! : 0));
    const expected = [0, 1].flatMap((r) =>
      [0, 1, 2].flatMap((c) => {
        const square = [...at(2 * r, 2 * c), ...at(2 * r + 1, 2 * c), ...at(2 * r, 2 * c + 1), ...at(2 * r + 1, 2 * c + 1)].map(
          (v, i) => v * p['norm.weight']!.data[i]!,
        );
        return Array.from({ length: outDim }, (_, o) =>
          square.reduce((sum, v, i) => sum + p['proj.weight']!.data[o * 4 * dim + i]! * v, 0),
        );
      }),
    );
    expectClose(outputs.y!, { dtype: 'float32', dims: [1, 6, outDim], data: Float64Array.from(expected) });
    expect(() => mergePatches({ dim, kernelSize: 2, stride: 1, norm })).toThrow(/norm: squares with a norm lie side by side/);
  });

  /** A norm that only multiplies, for the order of channels. */
  function scaled(width: number) {
    const norm = defineBlock({
      kind: 'norm',
      name: 'scaled',
      summary: 'Multiplies.',
      fields: {},
      examples: [{}],
      create() {
        const weight = new Parameter([width], init.ones, { role: 'norm', part: 'weight' });
        return module({ weight }, (x: Value) => ops.mul(x, x.graph.root.param(weight)));
      },
    });
    return norm({});
  }

  it('tells later layers the grid and the positions', () => {
    const inner = mergePatches({ dim: 3, kernelSize: 2, grid: [4, 6] });
    const reader = module({ inner }, ({ x }: Readonly<Record<string, Value>>, ctx: SequenceContext) => {
      const there = contextOfHiddenStates(inner(x!, ctx))!;
      expect(there.grid).toEqual([2, 3]);
      return { positions: there.positions };
    });
    const { outputs } = runBlock(reader, { x: randomArray('x', [1, 24, 3]) });
    expect(Array.from(outputs.positions!.data)).toEqual([0, 1, 2, 3, 4, 5]);
  });

  it('refuses padding, and what is not an image', () => {
    const block = mergePatches({ dim: 3, kernelSize: 2 });
    const x = ['float32', [2, 16, 3]] as const;
    expect(traceBlock(block, { x }).outputs[0]!.value.dims).toEqual([2, 4, 3]);
    expect(() => traceBlock(block, { x, lengths: ['int64', [2]] })).toThrow(ConfigError);
    expect(() => traceBlock(block, { x: ['float32', [2, 15, 3]] })).toThrow(ShapeError);
    expect(() => mergePatches({ dim: 3, kernelSize: 2, padding: 2 })).toThrow(/merge_patches.padding/);
  });
});
