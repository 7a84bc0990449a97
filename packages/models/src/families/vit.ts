// Vision transformers. Dosovitskiy et al. 2020, https://arxiv.org/abs/2010.11929
import type { ConfigReader } from '../config';
import type { BlockConfig, Checkpoint, Family, Translation } from '../family';
import { type NameEntry, reshaped } from '../names';
import { activationOf } from '../translate/activation';
import { type Backbone, labelsOf } from '../translate/heads';
import { imageSizeOf } from '../translate/image-size';

/** Rows and columns of patches of an image. */
export function gridOf(config: ConfigReader, usual = 16): readonly [number, number] {
  const side = Math.floor(imageSizeOf(config) / config.int('patch_size', usual));
  return [side, side];
}

/** Number of patches of an image. */
export const patchesOf = (config: ConfigReader, usual = 16): number => gridOf(config, usual).reduce((a, b) => a * b);

/** The patches of an image. */
export const patchEmbedding = (config: ConfigReader, usual = 16): BlockConfig => ({
  name: 'patch',
  kernelSize: config.int('patch_size', usual),
  inChannels: config.int('num_channels', 3),
});

/** The norm of all places. */
export const vitNorm = (config: ConfigReader): BlockConfig => ({ name: 'layer_norm', eps: config.num('layer_norm_eps', 1e-12) });

/** The feed-forward of a layer. */
export const vitMlp = (config: ConfigReader, hidden = config.int('intermediate_size')): BlockConfig => ({
  name: 'mlp',
  hidden,
  activation: activationOf(config, 'hidden_act', 'gelu'),
});

/** A pre-norm layer; its attention has biases of queries, keys and values by choice. */
export const vitLayer = (
  config: ConfigReader,
  own: { readonly mixer?: object; readonly feedforward?: BlockConfig; readonly layerScale?: number } = {},
) => ({
  name: 'pre_norm',
  norm: vitNorm(config),
  ...own,
  feedforward: own.feedforward ?? vitMlp(config),
  mixer: {
    name: 'multi_head',
    heads: config.int('num_attention_heads'),
    bias: config.flag('qkv_bias', true),
    outBias: true,
    ...own.mixer,
  },
});

/** The stack of such layers. */
export const vitStack = (config: ConfigReader, layer: BlockConfig, own: object = { norm: vitNorm(config) }): BlockConfig => ({
  name: 'stack',
  depth: config.int('num_hidden_layers'),
  layers: layer,
  ...own,
});

/** The head of a base model: a linear map of the class token, if it is stored, and otherwise none. */
export function vitPooled(config: ConfigReader, at: Checkpoint, backbone: Backbone, prefix: string): Translation {
  if (!at.has(`${prefix}pooler.dense.weight`)) return { config: { name: 'encoder', ...backbone }, names: [] };
  const poolerDim = config.int('pooler_output_size', backbone.dim);
  return {
    config: { name: 'pooled_encoder', ...backbone, poolerDim, activation: activationOf(config, 'pooler_act', 'tanh') },
    names: [[`${prefix}pooler.dense.{x}`, 'pooler.{x}']],
  };
}

/** A classifier of the class token. */
export const vitClassifier = (config: ConfigReader, backbone: Backbone): Translation => ({
  config: { name: 'classifier', ...backbone, classes: labelsOf(config), pooling: 'first' },
  names: [['classifier.{x}', 'head.{x}']],
});

/** A learned token, stored with two more axes. */
export const storedToken = (theirs: string, ours: string, dim: number): NameEntry => [theirs, ours, reshaped([1, 1, dim], [dim])];

/** Names of the patches. */
export const patchNames = (prefix: string): NameEntry => [
  `${prefix}embeddings.patch_embeddings.projection.{x}`,
  'embedding.proj.{x}',
];

/** Names of patches, class token and positions. */
export const vitEmbeddings = (prefix: string, dim: number): readonly NameEntry[] => [
  storedToken(`${prefix}embeddings.cls_token`, 'position.class_token', dim),
  [`${prefix}embeddings.position_embeddings`, 'position.pos_emb'],
  patchNames(prefix),
];

/** Names of the attention in a layer. */
export const vitAttention = (theirs: string, ours = 'stack.layers.{i}.mixer'): readonly NameEntry[] => [
  [`${theirs}.attention.attention.query.{x}`, `${ours}.q_proj.{x}`],
  [`${theirs}.attention.attention.key.{x}`, `${ours}.k_proj.{x}`],
  [`${theirs}.attention.attention.value.{x}`, `${ours}.v_proj.{x}`],
  [`${theirs}.attention.output.dense.{x}`, `${ours}.o_proj.{x}`],
];

/** Names of norms and feed-forward in a layer. */
export const vitSubLayers = (theirs: string, ours = 'stack.layers.{i}'): readonly NameEntry[] => [
  [`${theirs}.layernorm_before.{x}`, `${ours}.norm1.{x}`],
  [`${theirs}.layernorm_after.{x}`, `${ours}.norm2.{x}`],
  [`${theirs}.intermediate.dense.{x}`, `${ours}.feedforward.up.{x}`],
  [`${theirs}.output.dense.{x}`, `${ours}.feedforward.down.{x}`],
];

/** Names of layers and of the last norm. */
export const vitLayers = (prefix: string): readonly NameEntry[] => [
  ...vitAttention(`${prefix}encoder.layer.{i}`),
  ...vitSubLayers(`${prefix}encoder.layer.{i}`),
  [`${prefix}layernorm.{x}`, 'stack.norm.{x}'],
];

/** ViT: patches, a class token, learned positions, pre-norm layers. */
export const vit: Family = {
  modelTypes: ['vit'],
  tasks: ['base', 'image_classification'],
  prefix: 'vit.',
  unused: [/^classifier\./, /^vit\.pooler\./],
  translate(config, at) {
    const dim = config.int('hidden_size');
    const backbone = {
      dim,
      seqLen: patchesOf(config),
      embedding: patchEmbedding(config),
      position: { name: 'learnable', classToken: true },
      stack: vitStack(config, vitLayer(config)),
    };
    const head = at.task === 'base' ? vitPooled(config, at, backbone, 'vit.') : vitClassifier(config, backbone);
    return {
      config: head.config,
      names: [...vitEmbeddings('vit.', dim), ...vitLayers('vit.'), ...head.names],
      imageSize: imageSizeOf(config),
    };
  },
};
