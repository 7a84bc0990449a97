// Everything in one place: the blocks of all packages, the registry of them, and the public surface of core.
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

export * from '@onnxformers/attention';
// An op and an activation may share a name; here it is the block's, the op is `ops.relu`.
export * from '@onnxformers/core';
export {
  custom,
  gelu,
  geluTanh,
  glu,
  identity,
  leakyRelu,
  mlp,
  quickGelu,
  relu,
  sigmoid,
  silu,
  smelu,
  squaredRelu,
  starRelu,
  tanh,
} from '@onnxformers/feedforward';
export * from '@onnxformers/positional';
export { deepNorm, identity as identityNorm, layerNorm, postNorm, preNorm, rmsNorm } from '@onnxformers/residual';
export { causalLm, classifier, decoder, encoder, encoderDecoder, maskedLm, stack } from './factory/index';
export { inputsOf } from './inputs';
/** The lists of blocks that `zoo` is made of. */
export const blocks = {
  attention: attention.blocks,
  feedforward: feedforward.blocks,
  positional: positional.blocks,
  residual: residual.blocks,
  factory: factory.blocks,
} as const;
export {
  type FromXFormers,
  fromXFormers,
  fromXFormersMask,
  fromXFormersWeights,
  noCounterpart,
  type OurConfig,
  type XFormersConfig,
  type XFormersMaskOptions,
  type XFormersOptions,
} from './import/xformers/index';
