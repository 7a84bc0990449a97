// Gemma, Gemma 2 and the text models of Gemma 3. Gemma Team 2024, https://arxiv.org/abs/2403.08295 and https://arxiv.org/abs/2408.00118
import type { ConfigReader } from '../config';
import type { BlockConfig, Checkpoint, Family, Translation } from '../family';
import type { NameEntry } from '../names';
import { type DecoderHead, decoderWith } from '../translate/heads';
import {
  attentionNames,
  gluNames,
  llamaFeedforward,
  llamaMixer,
  llamaNames,
  llamaStyle,
  outerNames,
  rmsNormOf,
  stackOf,
  windowed,
  windowedLayers,
  windowOf,
} from '../translate/llama';
import { rotaryOf } from '../translate/rotary';

/** Norms multiply by 1 + weight. */
const normOf = (config: ConfigReader): BlockConfig => ({ ...rmsNormOf(config), unitOffset: true });

/** The last layers of each sub-layer's results have norms too, in Gemma 2 and 3. */
const sandwichNames: readonly NameEntry[] = [
  ['model.layers.{i}.input_layernorm.{x}', 'stack.layers.{i}.norm1.{x}'],
  ['model.layers.{i}.post_attention_layernorm.{x}', 'stack.layers.{i}.result_norm1.{x}'],
  ['model.layers.{i}.pre_feedforward_layernorm.{x}', 'stack.layers.{i}.norm2.{x}'],
  ['model.layers.{i}.post_feedforward_layernorm.{x}', 'stack.layers.{i}.result_norm2.{x}'],
];

interface Parts {
  readonly layer: string;
  readonly mixer: (layer: number) => Readonly<Record<string, unknown>>;
  readonly activation: string;
  readonly names: readonly NameEntry[];
  readonly head?: DecoderHead;
}

function translate(config: ConfigReader, at: Checkpoint, parts: Parts): Translation {
  const dim = config.int('hidden_size');
  const norm = normOf(config);
  const layer = (i: number): BlockConfig => ({
    name: parts.layer,
    mixer: llamaMixer(config, parts.mixer(i)),
    feedforward: { ...llamaFeedforward(config, parts.activation), bias: false },
    norm,
  });
  const head = decoderWith(
    config,
    at,
    {
      dim,
      embedding: { name: 'token', vocabSize: config.int('vocab_size'), scale: Math.sqrt(dim) },
      stack: stackOf(config.int('num_hidden_layers'), layer, norm),
    },
    { tied: true, ...parts.head },
  );
  return { config: head.config, names: [...parts.names, ...head.names] };
}

/** The key of the activation: older files of Gemma have another one. */
const activationKey = (config: ConfigReader): string => (config.has('hidden_activation') ? 'hidden_activation' : 'hidden_act');

/** Gemma: Llama with scaled embeddings. */
export const gemma: Family = {
  ...llamaStyle,
  modelTypes: ['gemma'],
  translate: (config, at) =>
    translate(config, at, { layer: 'pre_norm', mixer: () => ({}), activation: activationKey(config), names: llamaNames }),
};

const scaleOf = (config: ConfigReader): number => config.num('query_pre_attn_scalar', 256) ** -0.5;
const capOf = (config: ConfigReader, key: string): number | undefined => (config.has(key) ? config.num(key) : undefined);
const sandwich = [...outerNames, ...sandwichNames, ...attentionNames, ...gluNames];

/** Gemma 2: norms around the sub-layers, bounds on scores and logits, windows in every second layer. */
export const gemma2: Family = {
  ...llamaStyle,
  modelTypes: ['gemma2'],
  translate(config, at) {
    const within = windowedLayers(config, (i) => i % 2 === 0);
    const softcap = capOf(config, 'attn_logit_softcapping');
    return translate(config, at, {
      layer: 'sandwich_norm',
      mixer: (i) => ({
        attention: windowed(within[i] ? windowOf(config) : undefined, {
          scale: scaleOf(config),
          ...(softcap !== undefined && { softcap }),
        }),
      }),
      activation: activationKey(config),
      names: sandwich,
      head: { logitSoftcap: capOf(config, 'final_logit_softcapping') },
    });
  },
};

/** Gemma 3, text only: norms of queries and keys, windows in most layers, whose rotary embedding has another base. */
export const gemma3: Family = {
  ...llamaStyle,
  modelTypes: ['gemma3_text'],
  translate(config, at) {
    const every = config.int('sliding_window_pattern', config.int('_sliding_window_pattern', 6));
    const within = windowedLayers(config, (i) => (i + 1) % every !== 0);
    const headDim = config.int('head_dim', 256);
    return translate(config, at, {
      layer: 'sandwich_norm',
      mixer: (i) => ({
        qkNorm: normOf(config),
        attention: windowed(within[i] ? windowOf(config) : undefined, { scale: scaleOf(config) }),
        rotaryEmbedding: within[i]
          ? rotaryOf(config, { headDim, layerType: 'sliding_attention', thetaKey: 'rope_local_base_freq', unscaled: true })
          : rotaryOf(config, { headDim, layerType: 'full_attention', theta: 1_000_000 }),
      }),
      activation: activationKey(config),
      names: sandwich,
      head: { logitSoftcap: capOf(config, 'final_logit_softcapping') },
    });
  },
};
