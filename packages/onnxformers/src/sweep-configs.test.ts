// The product of options as configs.
import { ConfigError } from '@onnxformers/core';
import { describe, expect, it } from 'vitest';
import { hierarchicalConfig, sweep, zoo } from './index';

const lm = {
  name: 'causal_lm',
  dim: 12,
  vocabSize: 23,
  seqLen: 13,
  embedding: 'token',
  stack: {
    name: 'stack',
    depth: 1,
    layers: { name: 'pre_norm', mixer: { name: 'multi_head', heads: 3 }, feedforward: 'mlp' },
    norm: 'layer_norm',
  },
};

describe('sweep', () => {
  const axes = {
    'stack.depth': [1, 2],
    'stack.layers.mixer.attention': ['scaled_dot_product', { name: 'local', window: 3, causal: true }, 'linformer'],
  };
  const { configs, refused } = sweep(lm, axes);

  it('makes a config for each combination, with stable names', () => {
    expect(configs.map(({ name }) => name)).toEqual([
      'depth=1,attention=scaled_dot_product',
      'depth=1,attention=local(window=3 causal=true)',
      'depth=2,attention=scaled_dot_product',
      'depth=2,attention=local(window=3 causal=true)',
    ]);
    const [alone] = sweep(lm, { 'stack.depth': [2], 'stack.layers.mixer.attention': ['scaled_dot_product'] }).configs;
    expect(alone).toEqual(configs[2]);
    expect(configs[3]!.config).toMatchObject({
      stack: { depth: 2, layers: { mixer: { heads: 3, attention: { name: 'local', window: 3 } } } },
    });
    expect(lm.stack.depth).toBe(1);
    for (const { config } of configs) expect(zoo.parse('model', config as never)).toBeDefined();
  });

  it('refuses what is impossible, with the reason', () => {
    expect(refused.map(({ name }) => name)).toEqual(['depth=1,attention=linformer', 'depth=2,attention=linformer']);
    expect(refused[0]!.reason).toMatch(/linformer does not support the mask: causal/);
    const [wrong] = sweep(lm, { 'stack.layers.mixer.heads': [5] }).refused;
    expect(wrong!.reason).toMatch(/heads/);
  });

  it('continues into names and lists, and names places by what tells them apart', () => {
    const two = {
      ...lm,
      stack: { ...lm.stack, depth: 2, layers: [lm.stack.layers, { ...lm.stack.layers, feedforward: 'glu' }] },
    };
    const found = sweep(two, {
      'stack.layers[0].feedforward.hidden': [7, 11],
      'stack.layers[1].feedforward.hidden': [5],
      'stack.norm.eps': [0.1],
    });
    expect(found.refused).toEqual([]);
    expect(found.configs.map(({ name }) => name)).toEqual([
      'layers[0].feedforward.hidden=7,layers[1].feedforward.hidden=5,eps=0.1',
      'layers[0].feedforward.hidden=11,layers[1].feedforward.hidden=5,eps=0.1',
    ]);
    expect(found.configs[1]!.config).toMatchObject({
      stack: {
        layers: [{ feedforward: { name: 'mlp', hidden: 11 } }, { feedforward: { name: 'glu', hidden: 5 } }],
        norm: { name: 'layer_norm', eps: 0.1 },
      },
    });
  });

  it('sweeps other kinds', () => {
    const { configs: norms } = sweep({ name: 'layer_norm', dim: 5 }, { eps: [0, 0.5] }, { kind: 'norm' });
    expect(norms.map(({ name }) => name)).toEqual(['eps=0', 'eps=0.5']);
  });

  it.each([
    [{ 'stack.depth': [] }, /stack.depth: an axis without values/],
    [{ 'stack.layers[2].norm': ['identity'] }, /there is no "2" in the config|unknown/],
    [{ 'dim.size': [1] }, /dim.size: there is no "size" in the config; expected a block, got 12/],
  ])('refuses the axes %o', (wrong, message) => {
    const given = { ...lm, stack: { ...lm.stack, layers: [lm.stack.layers] } };
    expect(() => sweep(given, wrong)).toThrow(ConfigError);
    expect(() => sweep(given, wrong)).toThrow(message);
  });
});

describe('hierarchicalConfig', () => {
  const stage = { depth: 1, patchSize: 3, stride: 2, padding: 1 };
  const stages = [
    { ...stage, dim: 6, depth: 2, mixer: 'pooling', feedforward: { name: 'mlp', hidden: 7 } },
    { ...stage, dim: 9, mixer: { name: 'multi_head', heads: 3 }, feedforward: 'conv2d_feedforward' },
  ];
  it('has stages with patches between them', () => {
    const config = hierarchicalConfig(stages, { classes: 5, inChannels: 2 });
    expect(config).toMatchObject({
      name: 'classifier',
      dim: 6,
      embedding: { name: 'patch', inChannels: 2, kernelSize: 3 },
      stack: { outDim: 9, depth: 4 },
    });
    expect(sweep(config, { 'stack.norm': ['layer_norm', 'rms_norm'] }).refused).toEqual([]);
  });
  it('needs a stage', () => {
    expect(() => hierarchicalConfig([])).toThrow(/no stages/);
  });
});
