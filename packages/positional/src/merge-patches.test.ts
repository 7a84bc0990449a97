import { ConfigError, contextOfHiddenStates, module, type SequenceContext, ShapeError, type Value } from '@onnxformers/core';
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
