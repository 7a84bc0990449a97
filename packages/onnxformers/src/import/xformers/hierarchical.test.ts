import { readFileSync } from 'node:fs';
import { ConfigError, compile, targets } from '@onnxformers/core';
import { describe, expect, it } from 'vitest';
import { inputsOf, zoo } from '../../index';
import { fromXFormers, fromXFormersHierarchy, noCounterpart, type XFormersConfig } from './index';

interface Recorded {
  readonly layers: readonly XFormersConfig[];
  readonly args: XFormersConfig;
  readonly config: readonly XFormersConfig[];
}
const tables = JSON.parse(readFileSync(new URL('../../../fixtures/xformers/tables.json', import.meta.url), 'utf8'));
const recorded = Object.entries(tables.hierarchical as Record<string, Recorded>);

describe('hierarchical models', () => {
  it('are recorded', () => {
    expect(recorded.length).toBeGreaterThan(3);
  });
  it.each(recorded)('%s has the configs of the original, and becomes one stack', (_, { layers, args, config }) => {
    const stacks = fromXFormersHierarchy(layers, args);
    expect(stacks).toEqual(config);
    const ours = (() => {
      try {
        return fromXFormers({ stack_configs: stacks }).config;
      } catch (error) {
        if (error instanceof ConfigError && error.problem === noCounterpart) return undefined;
        throw error;
      }
    })();
    if (!ours) return;
    const names = (ours.stack as { layers: { name: string }[] }).layers.map(({ name }) => name);
    expect(names.filter((name) => name === 'merge_patches')).toHaveLength(layers.length - 1);
    const block = zoo.parse('model', ours);
    const { pixels } = inputsOf(block);
    expect(
      compile(block, { target: targets.cpu, inputs: { pixels: [pixels![0], [1, pixels![1][1]!, 16, 16]] } }).signature.outputs,
    ).toHaveLength(1);
  });

  const stage = {
    embedding: 8,
    attention_mechanism: 'linformer',
    patch_size: 3,
    stride: 2,
    padding: 1,
    seq_len: 64,
    feedforward: 'MLP',
  };
  it('have a style by default, and pass on what attentions need', () => {
    const [layer] = fromXFormersHierarchy([stage], { dim_head: 4 });
    expect(layer).toMatchObject({
      residual_norm_style: 'pre',
      multi_head_config: { num_heads: 2, attention: { name: 'linformer', seq_len: 64 } },
    });
    const { config } = fromXFormers({ stack_configs: [layer] });
    expect(zoo.parse('model', config)).toBeDefined();
  });
  it.each([
    [[{ ...stage, embedding: 9 }], { dim_head: 4 }, /hierarchy\[0\].embedding: .* a multiple of dim_head = 4, got 9/],
    [[{ ...stage, patch_size: undefined }], {}, /hierarchy\[0\].patch_size: missing/],
    [[{ ...stage, strides: 2 }], {}, /unknown option "strides".*Did you mean "stride"/],
    [[stage], { residual_norm_style: 'middle' }, /residual_norm_style: wrong value/],
  ])('refuse %o', (stages, options, message) => {
    expect(() => fromXFormersHierarchy(stages as XFormersConfig[], options)).toThrow(message);
  });
});
