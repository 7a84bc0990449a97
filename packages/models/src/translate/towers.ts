// The two encoders of CLIP and SigLIP, which have the same layers and names.
import type { ConfigReader } from '../config';
import type { BlockConfig } from '../family';
import { type NameEntry, reshaped } from '../names';
import { activationOf } from './activation';
import type { Backbone } from './heads';
import { imageSizeOf } from './image-size';

/** What the two families do not share, as the config file leaves it out. */
export interface TowerDefaults {
  readonly activation: string;
  readonly eps: number;
  readonly textLength: number;
}

const normOf = (config: ConfigReader, { eps }: TowerDefaults): BlockConfig => ({
  name: 'layer_norm',
  eps: config.num('layer_norm_eps', eps),
});

/** Pre-norm layers with biases everywhere, and a norm after the last, if the family has it there. */
function stackOf(config: ConfigReader, o: TowerDefaults, last: boolean): BlockConfig {
  const norm = normOf(config, o);
  return {
    name: 'stack',
    depth: config.int('num_hidden_layers', 12),
    layers: {
      name: 'pre_norm',
      mixer: { name: 'multi_head', heads: config.int('num_attention_heads', 12) },
      feedforward: {
        name: 'mlp',
        hidden: config.int('intermediate_size'),
        activation: activationOf(config, 'hidden_act', o.activation),
      },
      norm,
    },
    ...(last && { norm }),
  };
}

/** The encoder of texts: words and positions. */
export const textTower = (config: ConfigReader, o: TowerDefaults) => ({
  dim: config.int('hidden_size', 768),
  seqLen: config.int('max_position_embeddings', o.textLength),
  embedding: { name: 'vocab', vocabSize: config.int('vocab_size') },
  stack: stackOf(config, o, true),
});

/** The encoder of images: patches and positions; with a class token, norms before the layers and after the pooling. */
export function visionTower(config: ConfigReader, o: TowerDefaults & { readonly classToken: boolean }): Backbone {
  const side = Math.floor(imageSizeOf(config) / config.int('patch_size', 32));
  const norm = normOf(config, o);
  return {
    dim: config.int('hidden_size', 768),
    seqLen: side * side,
    embedding: {
      name: 'patch',
      kernelSize: config.int('patch_size', 32),
      inChannels: config.int('num_channels', 3),
      bias: !o.classToken,
    },
    position: { name: 'learnable', classToken: o.classToken },
    ...(o.classToken && { embeddingNorm: norm, poolNorm: norm }),
    stack: stackOf(config, o, !o.classToken),
  };
}

const layerNames = (theirs: string, ours: string): readonly NameEntry[] => [
  [`${theirs}.encoder.layers.{i}.self_attn.out_proj.{x}`, `${ours}stack.layers.{i}.mixer.o_proj.{x}`],
  [`${theirs}.encoder.layers.{i}.self_attn.{p}_proj.{x}`, `${ours}stack.layers.{i}.mixer.{p}_proj.{x}`],
  [`${theirs}.encoder.layers.{i}.layer_norm1.{x}`, `${ours}stack.layers.{i}.norm1.{x}`],
  [`${theirs}.encoder.layers.{i}.layer_norm2.{x}`, `${ours}stack.layers.{i}.norm2.{x}`],
  [`${theirs}.encoder.layers.{i}.mlp.fc1.{x}`, `${ours}stack.layers.{i}.feedforward.up.{x}`],
  [`${theirs}.encoder.layers.{i}.mlp.fc2.{x}`, `${ours}stack.layers.{i}.feedforward.down.{x}`],
];

/** Names of the encoder of texts, whose names of ours begin with `ours`. */
export const textNames = (ours: string): readonly NameEntry[] => [
  ...layerNames('text_model', ours),
  ['text_model.embeddings.token_embedding.weight', `${ours}embedding.word_embeddings.weight`],
  ['text_model.embeddings.position_embedding.weight', `${ours}embedding.position_embeddings.weight`],
  ['text_model.final_layer_norm.{x}', `${ours}stack.norm.{x}`],
];

/** Names of the encoder of images. */
export const visionNames = (vision: Backbone, ours: string): readonly NameEntry[] => [
  ...layerNames('vision_model', ours),
  ['vision_model.embeddings.patch_embedding.{x}', `${ours}embedding.proj.{x}`],
  ['vision_model.embeddings.position_embedding.weight', `${ours}position.pos_emb`, withBatch(vision)],
];

/** Names of the scale and the bias of similarities, which are stored with `dims`. */
export const similarityNames = (dims: readonly number[]): readonly NameEntry[] => [
  ['logit_scale', 'logit_scale', reshaped(dims, [1])],
  ['logit_bias', 'logit_bias', reshaped(dims, [1])],
];

/** A table of positions, which ours has with one more axis. */
function withBatch({ dim, seqLen, position }: Backbone) {
  const rows = Number(seqLen) + Number((position as { classToken: boolean }).classToken);
  return reshaped([rows, dim], [1, rows, dim]);
}
