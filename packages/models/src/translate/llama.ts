// Decoders in the style of Llama: RMS norms, rotary embedding, grouped keys, gated feed-forward.
import type { ConfigReader } from '../config';
import type { BlockConfig } from '../family';
import type { NameEntry } from '../names';
import { activationOf } from './activation';
import { rotaryOf } from './rotary';

/** Sizes of the attention. */
export interface HeadSizes {
  readonly heads: number;
  readonly kvHeads: number;
  readonly headDim: number;
}

/** Heads of queries and keys, and their width; the last two may be absent. */
export function headSizes(config: ConfigReader): HeadSizes {
  const heads = config.int('num_attention_heads');
  return {
    heads,
    kvHeads: config.int('num_key_value_heads', heads),
    headDim: config.int('head_dim', Math.floor(config.int('hidden_size') / heads)),
  };
}

/** RMS norm with the epsilon of the config. */
export const rmsNormOf = (config: ConfigReader): BlockConfig => ({ name: 'rms_norm', eps: config.num('rms_norm_eps', 1e-6) });

/** Causal attention within a window, or to all earlier positions without one. */
export const windowed = (window: number | undefined, options: Readonly<Record<string, unknown>> = {}): BlockConfig =>
  window === undefined ? { name: 'scaled_dot_product', ...options } : { name: 'local', window, causal: true, ...options };

/** The window of a config, if there is one: null means none. */
export const windowOf = (config: ConfigReader): number | undefined =>
  config.has('sliding_window') ? config.int('sliding_window') : undefined;

/**
 * The kind of each layer: `layer_types`, or the family's rule.
 *
 * Throws   ConfigError for a list of another length, or a kind that is not known
 */
export function windowedLayers(config: ConfigReader, rule: (layer: number) => boolean): readonly boolean[] {
  const depth = config.int('num_hidden_layers');
  const kinds = config.list('layer_types');
  if (!kinds) return Array.from({ length: depth }, (_, i) => rule(i));
  const known = ['full_attention', 'sliding_attention'];
  if (kinds.length !== depth || kinds.some((kind) => !known.includes(String(kind))))
    throw config.refuse('layer_types', 'not the kind of each layer', `${depth} of ${known.join(', ')}`);
  return kinds.map((kind) => kind === 'sliding_attention');
}

/** A layer's mixer; options of the family override. */
export const llamaMixer = (config: ConfigReader, options: Readonly<Record<string, unknown>> = {}): BlockConfig => {
  const sizes = headSizes(config);
  return {
    name: 'multi_head',
    ...sizes,
    bias: config.flag('attention_bias', false),
    rotaryEmbedding: rotaryOf(config, { headDim: sizes.headDim }),
    ...options,
  };
};

/** Its gated feed-forward. */
export const llamaFeedforward = (config: ConfigReader, key = 'hidden_act'): BlockConfig => ({
  name: 'glu',
  hidden: config.int('intermediate_size'),
  bias: config.flag('mlp_bias', false),
  activation: activationOf(config, key, 'silu'),
});

/** One config for all layers if they are equal. */
export function stackOf(depth: number, layer: (i: number) => BlockConfig, norm: BlockConfig): BlockConfig {
  const layers = Array.from({ length: depth }, (_, i) => layer(i));
  const same = layers.every((each) => JSON.stringify(each) === JSON.stringify(layers[0]));
  return { name: 'stack', depth, layers: same && depth ? layers[0] : layers, norm };
}

/** Names of the attention's weights. */
export const attentionNames: readonly NameEntry[] = [
  ['model.layers.{i}.self_attn.{p}_proj.{x}', 'stack.layers.{i}.mixer.{p}_proj.{x}'],
  ['model.layers.{i}.self_attn.{p}_norm.{x}', 'stack.layers.{i}.mixer.{p}_norm.{x}'],
];

/** Names of the gated feed-forward's weights. */
export const gluNames: readonly NameEntry[] = [
  ['model.layers.{i}.mlp.{p}_proj.{x}', 'stack.layers.{i}.feedforward.{p}_proj.{x}'],
];

/** Names of embedding and last norm. */
export const outerNames: readonly NameEntry[] = [
  ['model.embed_tokens.weight', 'embedding.weight'],
  ['model.norm.{x}', 'stack.norm.{x}'],
];

/** Names of the norms before each sub-layer. */
export const preNormNames: readonly NameEntry[] = [
  ['model.layers.{i}.input_layernorm.{x}', 'stack.layers.{i}.norm1.{x}'],
  ['model.layers.{i}.post_attention_layernorm.{x}', 'stack.layers.{i}.norm2.{x}'],
];

/** All names of Llama's weights without the head. */
export const llamaNames: readonly NameEntry[] = [...outerNames, ...preNormNames, ...attentionNames, ...gluNames];

/** What all families in this style share. */
export const llamaStyle = {
  prefix: 'model.',
  tasks: ['base', 'causal_lm', 'sequence_classification'],
  unused: [/^lm_head\./, /^score\./],
  repeated: [['lm_head.weight', 'model.embed_tokens.weight']],
} as const;
