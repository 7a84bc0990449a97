// Llama, Mistral and the families that differ from them in numbers only. Touvron et al. 2023, https://arxiv.org/abs/2302.13971
import type { ConfigReader } from '../config';
import type { BlockConfig, Checkpoint, Family, Translation } from '../family';
import { type Backbone, type DecoderHead, decoderWith } from '../translate/heads';
import {
  llamaFeedforward,
  llamaMixer,
  llamaNames,
  llamaStyle,
  rmsNormOf,
  stackOf,
  windowed,
  windowedLayers,
  windowOf,
} from '../translate/llama';

/** What a family of this style does otherwise. */
interface Variant {
  /** Options of the mixer of a layer. */
  readonly mixer?: (config: ConfigReader, layer: number) => Readonly<Record<string, unknown>>;
  /** Options of the layer. */
  readonly layer?: (config: ConfigReader) => Readonly<Record<string, unknown>>;
  /** Options of the model. */
  readonly model?: (config: ConfigReader) => Readonly<Record<string, unknown>>;
  readonly head?: (config: ConfigReader) => DecoderHead;
}

/** A pre-norm decoder of this style. */
function translate(config: ConfigReader, at: Checkpoint, v: Variant): Translation {
  const norm = rmsNormOf(config);
  const layer = (i: number): BlockConfig => ({
    name: 'pre_norm',
    mixer: llamaMixer(config, v.mixer?.(config, i)),
    feedforward: llamaFeedforward(config),
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
  return { config: head.config, names: [...llamaNames, ...head.names] };
}

const family = (modelType: string, v: Variant = {}): Family => ({
  ...llamaStyle,
  modelTypes: [modelType],
  translate: (config, at) => translate(config, at, v),
});

/** Llama. */
export const llama: Family = family('llama');

/** Mistral: Llama with a window in all layers. */
export const mistral: Family = family('mistral', { mixer: (config) => ({ attention: windowed(windowOf(config)) }) });

/** Later layers of Qwen attend within a window, if the config says so. */
const qwenAttention = (config: ConfigReader, layer: number): BlockConfig => {
  const from = config.int('max_window_layers', 28);
  const use = config.flag('use_sliding_window', false);
  const within = windowedLayers(config, (i) => use && i >= from)[layer];
  return windowed(within ? windowOf(config) : undefined);
};

/** Qwen2: biases of queries, keys and values. */
export const qwen2: Family = family('qwen2', {
  mixer: (config, i) => ({ bias: true, outBias: false, attention: qwenAttention(config, i) }),
});

/** Qwen3: queries and keys are normalised per head. */
export const qwen3: Family = family('qwen3', {
  mixer: (config, i) => ({ qkNorm: rmsNormOf(config), attention: qwenAttention(config, i) }),
});

/** SmolLM3: some layers have no rotary embedding. */
export const smollm3: Family = family('smollm3', {
  mixer(config, i) {
    const interval = config.int('no_rope_layer_interval', 4);
    const turned = config.list('no_rope_layers')?.[i] ?? ((i + 1) % interval === 0 ? 0 : 1);
    const within = windowedLayers(
      config,
      (layer) => config.flag('use_sliding_window', false) && !turnedAt(config, layer, interval),
    );
    return {
      attention: windowed(within[i] ? windowOf(config) : undefined),
      ...(!turned && { rotaryEmbedding: undefined }),
    };
  },
  head: () => ({ tied: true }),
});

const turnedAt = (config: ConfigReader, layer: number, interval: number): boolean =>
  Boolean(config.list('no_rope_layers')?.[layer] ?? ((layer + 1) % interval === 0 ? 0 : 1));

/** Granite: four factors. */
export const granite: Family = family('granite', {
  mixer: (config) => ({ attention: { name: 'scaled_dot_product', scale: config.num('attention_multiplier', 1) } }),
  layer: (config) => ({ branchScale: config.num('residual_multiplier', 1) }),
  model: (config) => ({
    embedding: { name: 'token', vocabSize: config.int('vocab_size'), scale: config.num('embedding_multiplier', 1) },
  }),
  head: (config) => ({ logitScale: 1 / config.num('logits_scaling', 1) }),
});
