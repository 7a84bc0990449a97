import { layouts } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { zoo } from './index';

layouts(zoo.blocks, {
  describe,
  it,
  registry: zoo,
  dependent: ({ block, config }) =>
    block.blockName === 'mixture_of_experts' && (config.capacity !== undefined || config.gate === 'round_robin')
      ? 'the expert of a token depends on the whole batch'
      : undefined,
  snapshot: (refused) => expect(refused).toMatchSnapshot(),
});
