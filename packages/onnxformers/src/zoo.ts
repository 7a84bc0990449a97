// The registry of all blocks.
import * as attention from '@onnxformers/attention';
import { registry } from '@onnxformers/core';
import * as feedforward from '@onnxformers/feedforward';
import * as positional from '@onnxformers/positional';
import * as residual from '@onnxformers/residual';
import * as factory from './factory/index';

/**
 * All blocks of the library, ready for configs: `zoo.build('model', { name: 'causal_lm', … })`. Add your own with `zoo.with(myBlock)`.
 */
export const zoo = registry(
  ...attention.blocks,
  ...feedforward.blocks,
  ...positional.blocks,
  ...residual.blocks,
  ...factory.blocks,
);
