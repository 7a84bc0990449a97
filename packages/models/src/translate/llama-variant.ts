// Families that differ from Llama in options only.
import type { ConfigReader } from '../config';
import type { BlockConfig, Checkpoint, Family, Translation } from '../family';
import type { NameEntry } from '../names';
import { type Backbone, type DecoderHead, decoderWith } from './heads';
import { llamaFeedforward, llamaMixer, llamaNames, llamaStyle, rmsNormOf, stackOf } from './llama';

/** What a family of this style does otherwise. */
export interface LlamaVariant {
  /** Options of the mixer of a layer. */
  readonly mixer?: (config: ConfigReader, layer: number) => Readonly<Record<string, unknown>>;
  /** The feed-forward of a layer. */
  readonly feedforward?: (config: ConfigReader, layer: number) => BlockConfig;
  /** Names of weights besides those of Llama; they come first. */
  readonly names?: readonly NameEntry[];
  /** Options of the layer. */
  readonly layer?: (config: ConfigReader) => Readonly<Record<string, unknown>>;
  /** Options of the model. */
  readonly model?: (config: ConfigReader) => Readonly<Record<string, unknown>>;
  readonly head?: (config: ConfigReader) => DecoderHead;
}

/** A pre-norm decoder of this style. */
function translate(config: ConfigReader, at: Checkpoint, v: LlamaVariant): Translation {
  const norm = rmsNormOf(config);
  const layer = (i: number): BlockConfig => ({
    name: 'pre_norm',
    mixer: llamaMixer(config, v.mixer?.(config, i)),
    feedforward: v.feedforward?.(config, i) ?? llamaFeedforward(config),
    norm,
    ...v.layer?.(config),
  });
  const backbone: Backbone = {
    dim: config.int('hidden_size'),
    embedding: { name: 'token', vocabSize: config.int('vocab_size') },
    stack: stackOf(config.int('num_hidden_layers'), layer, norm),
    ...v.model?.(config),
  };
  const head = decoderWith(config, at, backbone, v.head?.(config));
  return { config: head.config, names: [...(v.names ?? []), ...llamaNames, ...head.names] };
}

/** The family of a `model_type` that differs from Llama as stated. */
export const llamaVariant = (modelType: string, v: LlamaVariant = {}): Family => ({
  ...llamaStyle,
  modelTypes: [modelType],
  translate: (config, at) => translate(config, at, v),
});
