// Llama, Mistral and the families that differ from them in numbers only. Touvron et al. 2023, https://arxiv.org/abs/2302.13971
import type { ConfigReader } from '../config';
import type { BlockConfig, Family } from '../family';
import { rmsNormOf, windowed, windowedLayers, windowOf } from '../translate/llama';
import { llamaVariant } from '../translate/llama-variant';

/** Llama. */
export const llama: Family = llamaVariant('llama');

/** Mistral: Llama with a window in all layers. */
export const mistral: Family = llamaVariant('mistral', { mixer: (config) => ({ attention: windowed(windowOf(config)) }) });

/** Later layers of Qwen attend within a window, if the config says so. */
export const qwenAttention = (config: ConfigReader, layer: number): BlockConfig => {
  const from = config.int('max_window_layers', 28);
  const use = config.flag('use_sliding_window', false);
  const within = windowedLayers(config, (i) => use && i >= from)[layer];
  return windowed(within ? windowOf(config) : undefined);
};

/** Qwen2: biases of queries, keys and values. */
export const qwen2: Family = llamaVariant('qwen2', {
  mixer: (config, i) => ({ bias: true, outBias: false, attention: qwenAttention(config, i) }),
});

/** Qwen3: queries and keys are normalised per head. */
export const qwen3: Family = llamaVariant('qwen3', {
  mixer: (config, i) => ({ qkNorm: rmsNormOf(config), attention: qwenAttention(config, i) }),
});

/** SmolLM3: some layers have no rotary embedding. */
export const smollm3: Family = llamaVariant('smollm3', {
  mixer(config, i) {
    const interval = config.int('no_rope_layer_interval', 4);
    const within = windowedLayers(
      config,
      (layer) => config.flag('use_sliding_window', false) && !turnedAt(config, layer, interval),
    );
    return {
      attention: windowed(within[i] ? windowOf(config) : undefined),
      ...(!turnedAt(config, i, interval) && { rotaryEmbedding: undefined }),
    };
  },
  head: () => ({ tied: true }),
});

const turnedAt = (config: ConfigReader, layer: number, interval: number): boolean =>
  Boolean(config.list('no_rope_layers')?.[layer] ?? ((layer + 1) % interval === 0 ? 0 : 1));

/** Granite: four factors. */
export const granite: Family = llamaVariant('granite', {
  mixer: (config) => ({ attention: { name: 'scaled_dot_product', scale: config.num('attention_multiplier', 1) } }),
  layer: (config) => ({ branchScale: config.num('residual_multiplier', 1) }),
  model: (config) => ({
    embedding: { name: 'token', vocabSize: config.int('vocab_size'), scale: config.num('embedding_multiplier', 1) },
  }),
  head: (config) => ({ logitScale: 1 / config.num('logits_scaling', 1) }),
});
