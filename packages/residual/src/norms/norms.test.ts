import { ConfigError, initialize, type NDArray, namesOf } from '@onnxformers/core';
import { expectClose, randomArray, runBlock, traceBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { layerNormed, perRow, rmsNormed } from '../plain.test-helper';
import { dynamicTanh } from './dynamic-tanh';
import { groupNorm } from './group-norm';
import { identity } from './identity';
import { layerNorm } from './layer-norm';
import { rmsNorm } from './rms-norm';
import { scaleNorm } from './scale-norm';
import { simplicial } from './simplicial';

const x = randomArray('x', [2, 3, 5]);

describe('layer_norm', () => {
  it.each([{ dim: 5 }, { dim: 5, eps: 0.25, bias: false }])(
    'of %o is what plain loops give',
    ({ eps = 1e-5, ...config }: { dim: number; eps?: number; bias?: boolean }) => {
      const { outputs, parameters: p } = runBlock(layerNorm({ ...config, eps }), { x });
      expectClose(
        outputs.y!,
        perRow(x, (row) => layerNormed(row, p.weight!, p.bias, eps)),
      );
    },
  );
  it('starts as scale 1 and shift 0', async () => {
    const weights = initialize(layerNorm({ dim: 3 }), { scheme: 'vit' });
    expect((await weights.get('weight')!.load()).data).toEqual(Float32Array.of(1, 1, 1));
    expect((await weights.get('bias')!.load()).data).toEqual(Float32Array.of(0, 0, 0));
  });
});

describe('rms_norm', () => {
  it.each([1e-6, 0.25])('with eps %s agrees with plain loops', (eps) => {
    const { outputs, parameters: p } = runBlock(rmsNorm({ dim: 5, eps }), { x });
    expectClose(
      outputs.y!,
      perRow(x, (row) => rmsNormed(row, p.weight!, eps)),
    );
  });
  it('with unitOffset multiplies by 1 + weight, which is 1 at first', async () => {
    const { outputs, parameters: p } = runBlock(rmsNorm({ dim: 5, unitOffset: true }), { x });
    const factors = { ...p.weight!, data: p.weight!.data.map((v) => 1 + v) };
    expectClose(
      outputs.y!,
      perRow(x, (row) => rmsNormed(row, factors, 1e-6)),
    );
    const weights = initialize(rmsNorm({ dim: 3, unitOffset: true }), { scheme: 'vit' });
    expect((await weights.get('weight')!.load()).data).toEqual(Float32Array.of(0, 0, 0));
  });
  it('has one parameter', () => {
    expect([...namesOf(rmsNorm({ dim: 5 })).parameters.keys()]).toEqual(['weight']);
  });
});

it('identity returns x itself', () => {
  expect(runBlock(identity({}), { x }).outputs.y).toEqual(x satisfies NDArray);
});

it.each([layerNorm, rmsNorm])('$blockName has the default eps of its family and refuses wrong sizes', (block) => {
  const eps = block.blockName === 'layer_norm' ? 1e-5 : 1e-6;
  const { nodes } = traceBlock(block({ dim: 7 }), { x: ['float32', ['batch', 'seq', 7]] });
  expect(nodes.map((n) => n.attrs.epsilon)).toEqual([eps]);
  expect(() => block({ dim: 0 })).toThrow(ConfigError);
  expect(() => traceBlock(block({ dim: 7 }), { x: ['float32', ['batch', 5]] })).toThrow('expected [5], got [7]');
});

describe('simplicial', () => {
  const wide = randomArray('wide', [2, 3, 21]);
  it.each([
    { groups: 3, temperature: 0.25 },
    { groups: 7, temperature: 1 },
  ])('is a softmax of each group: %o', ({ groups, temperature }) => {
    const { outputs, parameters: p } = runBlock(simplicial({ dim: 21, groups, temperature, norm: layerNorm({ dim: 21 }) }), {
      x: wide,
    });
    const size = 21 / groups;
    const expected = perRow(wide, (row) => {
      const powers = layerNormed(row, p['norm.weight']!, p['norm.bias'], 1e-5).map((v) => Math.exp(v / temperature));
      const sum = (group: number) => powers.slice(group * size, (group + 1) * size).reduce((a, b) => a + b);
      return powers.map((v, i) => v / sum(Math.floor(i / size)));
    });
    expectClose(outputs.y!, expected);
  });
  it('refuses groups of different sizes', () => {
    expect(() => simplicial({ dim: 21, groups: 4 })).toThrow(
      /^simplicial.groups: the channels cannot be divided into groups of equal size; expected a divisor of dim = 21, got 4/,
    );
  });
});

describe('scale_norm', () => {
  it.each([1e-5, 2])('with eps %s agrees with plain loops', (eps) => {
    const { outputs, parameters: p } = runBlock(scaleNorm({ dim: 5, eps }), { x });
    const expected = perRow(x, (row) => {
      const length = Math.max(Math.hypot(...row), eps);
      return row.map((v) => (p.weight!.data[0]! * v) / length);
    });
    expectClose(outputs.y!, expected);
  });
  it('starts with vectors of length √dim, and gives 0 for 0', async () => {
    const weights = initialize(scaleNorm({ dim: 3 }), { seed: 1 });
    expect((await weights.get('weight')!.load()).data).toEqual(Float32Array.of(Math.sqrt(3)));
    const zeros = { ...x, data: new Float64Array(30) };
    expect(runBlock(scaleNorm({ dim: 5 }), { x: zeros }).outputs.y!.data.every((v) => v === 0)).toBe(true);
  });
});

describe('group_norm', () => {
  const wide = randomArray('wide', [2, 3, 21]);
  it.each([
    { groups: 3, eps: 1e-5 },
    { groups: 7, eps: 0.25 },
    { groups: 1, eps: 1e-5 },
  ])('standardises groups of channels: %o', ({ groups, eps }) => {
    const { outputs, parameters: p } = runBlock(groupNorm({ dim: 21, groups, eps }), { x: wide });
    const size = 21 / groups;
    const ones = { dtype: 'float32' as const, dims: [size], data: new Float64Array(size).fill(1) };
    const expected = perRow(wide, (row) => {
      const standard = Array.from({ length: groups }, (_, g) =>
        layerNormed(row.slice(g * size, (g + 1) * size), ones, undefined, eps),
      ).flat();
      return standard.map((v, c) => v * p.weight!.data[c]! + p.bias!.data[c]!);
    });
    expectClose(outputs.y!, expected);
  });
  it('refuses groups of different sizes', () => {
    expect(() => groupNorm({ dim: 21, groups: 4 })).toThrow(/^group_norm.groups: .* expected a divisor of dim = 21, got 4/);
  });
});

it('dynamic_tanh agrees with plain loops, and has one alpha', () => {
  const { outputs, parameters: p } = runBlock(dynamicTanh({ dim: 5 }), { x });
  expect(p.alpha!.dims).toEqual([1]);
  const expected = perRow(x, (row) =>
    row.map((v, c) => Math.tanh(p.alpha!.data[0]! * v) * p.weight!.data[c]! + p.bias!.data[c]!),
  );
  expectClose(outputs.y!, expected);
});
