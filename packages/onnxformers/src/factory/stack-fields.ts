// Options of stacks of layers of one kind.
import { each, int, slot } from '@onnxformers/core';
import { longestSequence } from './backbone';

/** The width, the layers and the norm after them. */
export const plainStackFields = {
  /** channels. Inherited from the enclosing block. */
  dim: int({ doc: 'channels', unit: 'channels', min: 1, inherit: true }),
  /** longest sequence; inherited by embeddings, positions and mechanisms of fixed length inside. Inherited from the enclosing block. */
  seqLen: longestSequence,
  /** number of layers. Inherited from the enclosing block. */
  depth: int({ doc: 'number of layers', min: 0, max: 10_000, inherit: true }),
  /** one config for all layers, or a list of them. */
  layers: each('layer', { doc: 'one config for all layers, or a list of them' }),
  /** norm after the last layer. Optional. */
  norm: slot('norm', { doc: 'norm after the last layer', optional: true }),
} as const;
