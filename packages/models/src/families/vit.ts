// Vision transformers. Dosovitskiy et al. 2020, https://arxiv.org/abs/2010.11929
import type { ConfigReader } from '../config';
import type { BlockConfig, Checkpoint, Family, Translation } from '../family';
import { type NameEntry, reshaped } from '../names';
import { activationOf } from '../translate/activation';
import { type Backbone, labelsOf } from '../translate/heads';

/** Patches of a square image. */
export const patchesOf = (config: ConfigReader): number =>
  Math.floor(config.int('image_size', 224) / config.int('patch_size', 16)) ** 2;

/** A pre-norm layer; its attention has biases of queries, keys and values by choice. */
export const vitLayer = (config: ConfigReader, norm: BlockConfig): BlockConfig => {
  const bias = config.flag('qkv_bias', true);
  return {
    name: 'pre_norm',
    mixer: { name: 'multi_head', heads: config.int('num_attention_heads'), bias, outBias: true },
    feedforward: { name: 'mlp', hidden: config.int('intermediate_size'), activation: activationOf(config, 'hidden_act', 'gelu') },
    norm,
  };
};

/** Names of the attention in a layer. */
export const vitAttention = (theirs: string): readonly NameEntry[] => [
  [`${theirs}.attention.attention.query.{x}`, 'stack.layers.{i}.mixer.q_proj.{x}'],
  [`${theirs}.attention.attention.key.{x}`, 'stack.layers.{i}.mixer.k_proj.{x}'],
  [`${theirs}.attention.attention.value.{x}`, 'stack.layers.{i}.mixer.v_proj.{x}'],
  [`${theirs}.attention.output.dense.{x}`, 'stack.layers.{i}.mixer.o_proj.{x}'],
];

/** Names of patches, class token and positions. */
export const vitEmbeddings = (prefix: string, dim: number): readonly NameEntry[] => [
  [`${prefix}embeddings.cls_token`, 'position.class_token', reshaped([1, 1, dim], [dim])],
  [`${prefix}embeddings.position_embeddings`, 'position.pos_emb'],
  [`${prefix}embeddings.patch_embeddings.projection.{x}`, 'embedding.proj.{x}'],
];

function headOf(config: ConfigReader, at: Checkpoint, backbone: Backbone): Translation {
  if (at.task === 'image_classification')
    return {
      config: { name: 'classifier', ...backbone, classes: labelsOf(config), pooling: 'first' },
      names: [['classifier.{x}', 'head.{x}']],
    };
  if (!at.has('vit.pooler.dense.weight')) return { config: { name: 'encoder', ...backbone }, names: [] };
  const poolerDim = config.int('pooler_output_size', backbone.dim);
  return {
    config: { name: 'pooled_encoder', ...backbone, poolerDim, activation: activationOf(config, 'pooler_act', 'tanh') },
    names: [['vit.pooler.dense.{x}', 'pooler.{x}']],
  };
}

/** ViT: patches, a class token, learned positions, pre-norm layers. */
export const vit: Family = {
  modelTypes: ['vit'],
  tasks: ['base', 'image_classification'],
  prefix: 'vit.',
  unused: [/^classifier\./, /^vit\.pooler\./],
  translate(config, at) {
    const dim = config.int('hidden_size');
    const norm = { name: 'layer_norm', eps: config.num('layer_norm_eps', 1e-12) };
    const head = headOf(config, at, {
      dim,
      seqLen: patchesOf(config),
      embedding: { name: 'patch', kernelSize: config.int('patch_size', 16), inChannels: config.int('num_channels', 3) },
      position: { name: 'learnable', classToken: true },
      stack: { name: 'stack', depth: config.int('num_hidden_layers'), layers: vitLayer(config, norm), norm },
    });
    const layer = 'vit.encoder.layer.{i}';
    return {
      config: head.config,
      names: [
        ...vitEmbeddings('vit.', dim),
        ...vitAttention(layer),
        [`${layer}.layernorm_before.{x}`, 'stack.layers.{i}.norm1.{x}'],
        [`${layer}.layernorm_after.{x}`, 'stack.layers.{i}.norm2.{x}'],
        [`${layer}.intermediate.dense.{x}`, 'stack.layers.{i}.feedforward.up.{x}'],
        [`${layer}.output.dense.{x}`, 'stack.layers.{i}.feedforward.down.{x}'],
        ['vit.layernorm.{x}', 'stack.norm.{x}'],
        ...head.names,
      ],
    };
  },
};
