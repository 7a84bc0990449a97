// The blocks of all packages, their registry, and the public API of core.
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
export * from '@onnxformers/core';
// Both packages have an `identity`: here it is the activation; the norm has another name.
export * from '@onnxformers/feedforward';
export { identity } from '@onnxformers/feedforward';
export * from '@onnxformers/positional';
export * from '@onnxformers/residual';
export { identity as identityNorm } from '@onnxformers/residual';
export * from './encoder/index';
export * from './factory/index';
export { inputsOf } from './inputs';
export * from './memory-efficient/index';
export * from './patterns/index';
export { type DrawMasksOptions, drawMasks, type ShownMask } from './picture/mask';
export { drawGraph, drawGraphFile, type Picture, type PictureNode, pictureOf, toDot } from './picture/picture';
/** The lists of blocks in `zoo`. */
export const blocks = {
  attention: attention.blocks,
  feedforward: feedforward.blocks,
  positional: positional.blocks,
  residual: residual.blocks,
  factory: factory.blocks,
} as const;
export * from './import/xformers/index';
