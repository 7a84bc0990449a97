import {
  ConfigError,
  defineBlock,
  each,
  initialize,
  int,
  module,
  namesOf,
  registry,
  type SequenceContext,
  toArray,
  type Value,
} from '@onnxformers/core';
import { expectClose, randomArray, runBlock, traceBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { blocks, deepNorm, identity, layerNorm, postNorm, preNorm, rmsNorm } from './index';
import { layerNormed, mapRow, meanMixer, meanRow, perRow, plus, rmsNormed, rowMap, rowsOf } from './plain.test-helper';

const dim = 5;
const x = randomArray('x', [1, 3, dim]);
const memory = randomArray('memory', [1, 7, dim]);
const mixer = () => meanMixer({ dim });
const cross = () => meanMixer({ dim, cross: true });
const feedforward = () => rowMap({ dim });
type Parameters = ReturnType<typeof runBlock>['parameters'];
const normOf = (p: Parameters, name: string) => (row: readonly number[]) =>
  layerNormed(row, p[`${name}.weight`]!, p[`${name}.bias`], 1e-5);

// All rows of the one sequence through the three sub-layers.
function plainLayer(
  p: Parameters,
  before: boolean,
  weigh: readonly [number, number],
  { normMemory = false, normResidual = false } = {},
): number[][] {
  const sub = (rows: number[][], normName: string, f: (rows: number[][]) => number[][]): number[][] => {
    const norm = normOf(p, normName);
    const branch = f(before ? rows.map(norm) : rows);
    const sums = rows.map((row, i) => plus(normResidual ? norm(row) : row, branch[i]!, [...weigh]));
    return before ? sums : sums.map(norm);
  };
  const memoryRows = normMemory ? rowsOf(memory).map(normOf(p, 'norm_cross')) : rowsOf(memory);
  const mixed = sub(rowsOf(x), 'norm1', (rows) => rows.map((row) => mapRow(plus(row, meanRow(rows)), p['mixer.map.weight']!)));
  const crossed = sub(mixed, 'norm_cross', (rows) =>
    rows.map((row) => mapRow(plus(row, meanRow(memoryRows)), p['cross.map.weight']!)),
  );
  return sub(crossed, 'norm2', (rows) => rows.map((row) => mapRow(row, p['feedforward.map.weight']!)));
}

const alpha = (2 * 6) ** (1 / 4);
describe('a layer with mixer, cross attention and feed-forward', () => {
  const parts = () => ({ dim, mixer: mixer(), cross: cross(), feedforward: feedforward() });
  it.each([
    ['pre_norm', () => preNorm(parts()), true, [1, 1], {}],
    ['pre_norm, weighed', () => preNorm({ ...parts(), scale: 0.7, branchScale: 0.3 }), true, [0.7, 0.3], {}],
    ['pre_norm, the memory normalised', () => preNorm({ ...parts(), normMemory: true }), true, [1, 1], { normMemory: true }],
    [
      'pre_norm, the residual connection normalised',
      () => preNorm({ ...parts(), normResidual: true }),
      true,
      [1, 1],
      { normResidual: true },
    ],
    ['post_norm', () => postNorm(parts()), false, [1, 1], {}],
    ['post_norm, weighed', () => postNorm({ ...parts(), scale: 0.7, branchScale: 0.3 }), false, [0.7, 0.3], {}],
    ['deep_norm', () => deepNorm({ ...parts(), depth: 6 }), false, [alpha, 1], {}],
    ['deep_norm of given alpha', () => deepNorm({ ...parts(), depth: 6, alpha: 3, beta: 1 }), false, [3, 1], {}],
  ] as const)('%s is what plain loops give', (_, make, before, weigh, norms) => {
    const { outputs, parameters } = runBlock(make(), { x, memory });
    const expected = { ...x, data: Float64Array.from(plainLayer(parameters, before, weigh, norms).flat()) };
    // Factors are rounded to float32.
    expectClose(outputs.y!, expected, { atol: 1e-6, rtol: 1e-6 });
  });

  it('names its parameters by their places', () => {
    const names = [...namesOf(preNorm(parts())).parameters.keys()];
    expect(names).toEqual([
      'norm1.weight',
      'norm1.bias',
      'mixer.map.weight',
      'norm_cross.weight',
      'norm_cross.bias',
      'cross.map.weight',
      'norm2.weight',
      'norm2.bias',
      'feedforward.map.weight',
    ]);
  });
});

describe('missing sub-layers', () => {
  it('leave no superfluous nodes', () => {
    expect([
      ...namesOf(preNorm({ dim, feedforward: feedforward(), norm: (i) => rmsNorm({ dim, eps: i + 1 }) })).parameters.keys(),
    ]).toEqual(['norm2.weight', 'feedforward.map.weight']);
    const { outputs, parameters: p } = runBlock(postNorm({ dim, mixer: mixer() }), { x });
    const rows = rowsOf(x);
    const around = meanRow(rows);
    expectClose(
      outputs.y!,
      perRow(x, (row) => normOf(p, 'norm1')(plus(row, mapRow(plus(row, around), p['mixer.map.weight']!)))),
    );
  });
  it('are not all of them', () => {
    expect(() => preNorm({ dim })).toThrow(ConfigError);
    expect(() => postNorm({ dim })).toThrow('expected one of mixer, cross, feedforward, got none');
  });
  it('norms are numbered over the sub-layers that exist', () => {
    const eps = (layer: ReturnType<typeof preNorm>) =>
      traceBlock(layer, { x: ['float32', [1, 3, dim]] }).nodes.flatMap((n) => n.attrs.epsilon ?? []);
    const norm = (i: number) => rmsNorm({ dim, eps: i + 1 });
    expect(eps(preNorm({ dim, mixer: mixer(), feedforward: feedforward(), norm }))).toEqual([1, 2]);
    expect(eps(preNorm({ dim, feedforward: feedforward(), norm }))).toEqual([1]);
  });
});

describe('a sub-layer that changes the number of channels', () => {
  it.each([preNorm, postNorm])('is joined by a linear shortcut: $blockName', (block) => {
    const before = block === preNorm;
    const { outputs, parameters: p } = runBlock(block({ dim, feedforward: rowMap({ dim, outDim: 3 }), scale: 0.5 }), { x });
    expect(
      Object.entries(p)
        .map(([name, { dims }]) => `${name} ${dims}`)
        .sort(),
    ).toEqual([
      'feedforward.map.weight 3,5',
      `norm2.bias ${before ? 5 : 3}`,
      `norm2.weight ${before ? 5 : 3}`,
      'shortcut.feedforward.weight 3,5',
    ]);
    const norm = normOf(p, 'norm2');
    const expected = perRow(x, (row) => {
      const sum = plus(
        mapRow(row, p['shortcut.feedforward.weight']!),
        mapRow(before ? norm(row) : row, p['feedforward.map.weight']!),
        [0.5, 1],
      );
      return before ? sum : norm(sum);
    });
    expectClose(outputs.y!, expected);
  });

  it('passes the width on to later sub-layers and their norms', () => {
    const zoo = registry(...blocks, meanMixer, rowMap);
    const layer = zoo.build('layer', {
      name: 'pre_norm',
      dim,
      mixer: { name: 'mean_mixer', outDim: 7 },
      cross: { name: 'mean_mixer', cross: true, outDim: 7 },
      feedforward: { name: 'row_map', outDim: 11 },
    });
    const dims = Object.fromEntries([...namesOf(layer).parameters].map(([name, p]) => [name, p.dims]));
    expect(dims).toMatchObject({
      'norm1.weight': [5],
      'mixer.map.weight': [7, 5],
      'shortcut.mixer.weight': [7, 5],
      'norm_cross.weight': [7],
      'cross.map.weight': [7, 7],
      'norm2.weight': [7],
      'feedforward.map.weight': [11, 7],
      'shortcut.feedforward.weight': [11, 7],
    });
    expect(dims).not.toHaveProperty(['shortcut.cross.weight']);
  });
});

describe('configs', () => {
  const layers = defineBlock({
    kind: 'stack',
    name: 'layers',
    summary: 'For tests.',
    fields: {
      dim: int({ doc: 'channels', inherit: true }),
      depth: int({ doc: 'layers' }),
      layers: each('layer', { doc: 'the layers' }),
    },
    examples: [],
    create({ depth, layers }) {
      const all = Array.from({ length: depth }, (_, i) => layers(i));
      return module({ layers: all }, (h: Value, ctx: SequenceContext) => all.reduce((y, layer) => layer(y, ctx), h));
    },
  });
  const zoo = registry(...blocks, meanMixer, rowMap, layers);

  it('are the same after a round trip', () => {
    const config = { name: 'pre_norm', dim, mixer: 'mean_mixer', feedforward: { name: 'row_map' }, norm: 'identity' } as const;
    const json = zoo.toJSON(zoo.build('layer', config));
    expect(json).toMatchObject({ name: 'pre_norm', dim, norm: { name: 'identity' }, mixer: { name: 'mean_mixer', dim } });
    expect(zoo.toJSON(zoo.parse('layer', json))).toEqual(json);
  });
  it('of deep_norm inherit the depth from the enclosing stack', () => {
    const stack = zoo.build('stack', { name: 'layers', dim, depth: 6, layers: { name: 'deep_norm', feedforward: 'row_map' } });
    const [layer] = stack.children.layers as unknown as [ReturnType<typeof deepNorm>];
    expect(layer.about.config).toMatchObject({ depth: 6, alpha, beta: (8 * 6) ** (-1 / 4) });
    expect(layer.about.gain).toBe((layer.about.config as { beta: number }).beta);
  });
  it('accept a norm by name or module', () => {
    expect(preNorm({ dim, feedforward: feedforward(), norm: [identity({})] }).children).toHaveProperty('norm2');
    const shared = layerNorm({ dim });
    const tied = namesOf(preNorm({ dim, mixer: mixer(), feedforward: feedforward(), norm: () => shared }));
    expect([...tied.aliases]).toEqual([
      ['norm2.weight', 'norm1.weight'],
      ['norm2.bias', 'norm1.bias'],
    ]);
  });
});

describe('deep_norm', () => {
  const both = { dim, feedforward: feedforward() };
  it('knows encoder and decoder apart', () => {
    const told = (o: object) => deepNorm({ ...both, depth: 3, ...o }).about.config;
    expect(told({})).toMatchObject({ alpha: 6 ** (1 / 4), beta: 24 ** (-1 / 4) });
    expect((told({ decoderDepth: 5 }) as { alpha: number }).alpha).toBeCloseTo(0.81 * (3 ** 4 * 5) ** (1 / 16), 12);
    expect((told({ encoderDepth: 5 }) as { alpha: number }).alpha).toBeCloseTo(9 ** (1 / 4), 12);
    expect(() => told({ encoderDepth: 5, decoderDepth: 5 })).toThrow(
      'expected encoderDepth in a decoder, decoderDepth in an encoder, or neither',
    );
  });

  it.each(['default', 'vit'] as const)('scales initial values of its sub-layers by beta under the scheme %s', async (scheme) => {
    const load = async (beta: number, name: string) => {
      const layer = deepNorm({ ...both, mixer: mixer(), depth: 2, beta });
      return toArray(await initialize(layer, { scheme, seed: 1 }).get(name)!.load());
    };
    for (const name of ['mixer.map.weight', 'feedforward.map.weight']) {
      const [whole, half] = [await load(1, name), await load(0.5, name)];
      expectClose(half, { ...whole, data: whole.data.map((v) => v / 2) }, { rtol: 1e-6 });
    }
    expect((await load(0.5, 'norm1.weight')).data).toEqual(Float64Array.of(1, 1, 1, 1, 1));
  });
});

it('pre_norm accepts other norms: rms_norm', () => {
  const { outputs, parameters: p } = runBlock(preNorm({ dim, feedforward: feedforward(), norm: [rmsNorm({ dim })] }), { x });
  expectClose(
    outputs.y!,
    perRow(x, (row) => plus(row, mapRow(rmsNormed(row, p['norm2.weight']!, 1e-6), p['feedforward.map.weight']!))),
  );
});
