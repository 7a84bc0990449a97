// The blocks of all packages, their registry, and the public API of core.
import * as attention from '@onnxformers/attention';
import * as feedforward from '@onnxformers/feedforward';
import * as positional from '@onnxformers/positional';
import * as residual from '@onnxformers/residual';
import * as factory from './factory/index';

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
export { type Axes, type Sweep, type SweptConfig, sweep } from './sweep';
export { zoo } from './zoo';
/** The lists of blocks in `zoo`. */
export const blocks = {
  attention: attention.blocks,
  feedforward: feedforward.blocks,
  positional: positional.blocks,
  residual: residual.blocks,
  factory: factory.blocks,
} as const;
export * from './import/xformers/index';
