import { ConfigError, type NDArray, namesOf } from '@onnxformers/core';
import { expectClose, randomArray, runBlock, traceBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { squaredRelu } from './activations/squared-relu';
import { mlp } from './mlp';
import { mapRow, perRow } from './plain.test-helper';

const squared = (v: number) => Math.max(v, 0) ** 2;

describe('mlp', () => {
  it.each([
    { dim: 5, activation: squaredRelu({}) },
    { dim: 5, hidden: 11, outDim: 3, bias: false, activation: squaredRelu({}) },
  ])('agrees with plain loops: %o', (config) => {
    const x = randomArray('x', [2, 3, 5]);
    const { outputs, parameters: p } = runBlock(mlp(config), { x });
    const expected = perRow(x, (row) =>
      mapRow(mapRow(row, p['up.weight']!, p['up.bias']).map(squared), p['down.weight']!, p['down.bias']),
    );
    expectClose(outputs.y!, expected);
  });

  it('names its parameters up and down, hidden four times as wide', () => {
    const dims = [...namesOf(mlp({ dim: 7 })).parameters].map(([name, p]) => `${name} ${p.dims}`);
    expect(dims).toEqual(['up.weight 28,7', 'up.bias 28', 'down.weight 7,28', 'down.bias 7']);
  });

  it('takes rows of any layout at symbolic sizes', () => {
    const { outputs } = traceBlock(mlp({ dim: 7, outDim: 3 }), { x: ['float32', ['tokens', 7]] });
    expect(outputs[0]!.value.dims).toEqual(['tokens', 3]);
  });

  it('drops channels after both linear maps in training', () => {
    const x = randomArray('x', [2, 5]);
    const block = mlp({ dim: 5, hidden: 7, dropout: 0.4, activation: squaredRelu({}) });
    const draws = { dropout: randomArray('first', [2, 7]), 'dropout@2': randomArray('second', [2, 5]) };
    const { outputs, parameters: p } = runBlock(block, { x }, { training: true, draws });
    const drop = (row: number[], noise: NDArray, at: number) =>
      row.map((v, i) => (noise.data[at * row.length + i]! >= 0.4 ? v / 0.6 : 0));
    const expected = perRow(x, (row, at) => {
      const hidden = mapRow(row, p['up.weight']!, p['up.bias']).map(squared);
      return drop(mapRow(drop(hidden, draws.dropout, at), p['down.weight']!, p['down.bias']), draws['dropout@2'], at);
    });
    expectClose(outputs.y!, expected, { rtol: 1e-6 });
    expect(Array.from(expected.data)).toContain(0);
    const graph = traceBlock(block, { x: ['float32', [2, 5]] }, { training: true });
    expect(graph.inputs.filter((v) => v.leaf?.kind === 'draw').map((v) => v.dims)).toEqual([
      [2, 7],
      [2, 5],
    ]);
    expect(traceBlock(block, { x: ['float32', [2, 5]] }).inputs).toHaveLength(1);
  });

  it('refuses sizes below 1', () => {
    expect(() => mlp({ dim: 0 })).toThrow(ConfigError);
  });
});
