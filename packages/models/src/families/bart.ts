// BART and Marian. Lewis et al. 2019, https://arxiv.org/abs/1910.13461; Junczys-Dowmunt et al. 2018, https://arxiv.org/abs/1804.00344
import type { ConfigReader } from '../config';
import type { BlockConfig, Checkpoint, Family, Translation } from '../family';
import { type NameEntry, reshaped } from '../names';
import { activationOf } from '../translate/activation';
import { isTied } from '../translate/heads';

export type Side = 'encoder' | 'decoder';

/** Layers with a norm after or before each sub-layer; those of the decoder attend to the encoder. */
export function bartStack(config: ConfigReader, side: Side, layer: 'post_norm' | 'pre_norm', more: object = {}): BlockConfig {
  const mixer = { name: 'multi_head', heads: config.int(`${side}_attention_heads`), ...more };
  return {
    name: 'stack',
    depth: config.int(`${side}_layers`),
    layers: {
      name: layer,
      mixer,
      ...(side === 'decoder' && { cross: { ...mixer, cross: true } }),
      feedforward: {
        name: 'mlp',
        hidden: config.int(`${side}_ffn_dim`),
        activation: activationOf(config, 'activation_function', 'gelu'),
      },
    },
  };
}

/** Names of the layers of one side. */
export const bartLayerNames = (side: Side): readonly NameEntry[] => {
  const [theirs, ours] = [`model.${side}.layers.{i}`, `${side}.stack.layers.{i}`];
  return [
    [`${theirs}.self_attn.out_proj.{x}`, `${ours}.mixer.o_proj.{x}`],
    [`${theirs}.self_attn.{p}_proj.{x}`, `${ours}.mixer.{p}_proj.{x}`],
    [`${theirs}.self_attn_layer_norm.{x}`, `${ours}.norm1.{x}`],
    [`${theirs}.encoder_attn.out_proj.{x}`, `${ours}.cross.o_proj.{x}`],
    [`${theirs}.encoder_attn.{p}_proj.{x}`, `${ours}.cross.{p}_proj.{x}`],
    [`${theirs}.encoder_attn_layer_norm.{x}`, `${ours}.norm_cross.{x}`],
    [`${theirs}.fc1.{x}`, `${ours}.feedforward.up.{x}`],
    [`${theirs}.fc2.{x}`, `${ours}.feedforward.down.{x}`],
    [`${theirs}.final_layer_norm.{x}`, `${ours}.norm2.{x}`],
  ];
};

/** What the two families do differently. */
interface Variant {
  readonly position: BlockConfig;
  readonly embeddingNorm?: BlockConfig;
  /** One embedding for both sides. */
  readonly shared: boolean;
  readonly vocabSizes: Readonly<Record<Side, number>>;
  readonly names: readonly NameEntry[];
}

function translate(config: ConfigReader, at: Checkpoint, v: Variant): Translation {
  const dim = config.int('d_model');
  const scale = config.flag('scale_embedding', false) ? Math.sqrt(dim) : 1;
  const half = (side: Side): BlockConfig => ({
    name: side,
    embedding: { name: 'token', vocabSize: v.vocabSizes[side], scale },
    position: v.position,
    ...(v.embeddingNorm && { embeddingNorm: v.embeddingNorm }),
    stack: bartStack(config, side, 'post_norm'),
  });
  const embeddings: readonly NameEntry[] = v.shared
    ? [['model.shared.weight', 'encoder.embedding.weight']]
    : [
        ['model.encoder.embed_tokens.weight', 'encoder.embedding.weight'],
        ['model.decoder.embed_tokens.weight', 'decoder.embedding.weight'],
      ];
  const names = [...embeddings, ...v.names, ...bartLayerNames('encoder'), ...bartLayerNames('decoder')];
  const model = {
    name: 'encoder_decoder',
    dim,
    tiedEmbeddings: v.shared,
    tiedPositions: false,
    encoder: half('encoder'),
    decoder: half('decoder'),
  };
  if (at.task === 'base') return { config: model, names };
  const vocabSize = v.vocabSizes.decoder;
  return {
    config: { ...model, vocabSize, tied: isTied(config, at, 'lm_head.weight'), headBias: at.has('final_logits_bias') },
    names: [
      ...names,
      ['lm_head.weight', 'head.weight'],
      ['final_logits_bias', 'head.bias', reshaped([1, vocabSize], [vocabSize])],
    ],
  };
}

const shared = {
  tasks: ['base', 'seq2seq_lm'],
  prefix: 'model.',
  repeated: [
    ['lm_head.weight', 'model.shared.weight'],
    ['model.encoder.embed_tokens.weight', 'model.shared.weight'],
    ['model.decoder.embed_tokens.weight', 'model.shared.weight'],
    ['lm_head.weight', 'model.decoder.embed_tokens.weight'],
  ],
} as const;

/** Rows of the position tables before position 0. */
const offset = 2;

/** BART: an encoder and a decoder with learned positions. */
export const bart: Family = {
  ...shared,
  modelTypes: ['bart'],
  unused: [/^lm_head\./, /^final_logits_bias$/, /^classification_head\./],
  translate(config, at) {
    const rows = offset + config.int('max_position_embeddings', 1024);
    const dim = config.int('d_model');
    const vocabSize = config.int('vocab_size');
    const table = reshaped([rows, dim], [1, rows, dim]);
    return translate(config, at, {
      position: { name: 'learnable', seqLen: rows - offset, positionOffset: offset },
      embeddingNorm: { name: 'layer_norm' },
      shared: true,
      vocabSizes: { encoder: vocabSize, decoder: vocabSize },
      names: [
        ['model.encoder.embed_positions.weight', 'encoder.position.pos_emb', table],
        ['model.decoder.embed_positions.weight', 'decoder.position.pos_emb', table],
        ['model.{side}.layernorm_embedding.{x}', '{side}.embeddingNorm.{x}'],
      ],
    });
  },
};

/** Marian: BART with sinusoidal positions, which are not stored. */
export const marian: Family = {
  ...shared,
  modelTypes: ['marian'],
  unused: [/^lm_head\./, /^final_logits_bias$/, /\.embed_positions\.weight$/],
  translate(config, at) {
    const vocabSize = config.int('vocab_size');
    const one = config.flag('share_encoder_decoder_embeddings', true);
    return translate(config, at, {
      position: { name: 'sine', order: 'halves' },
      shared: one,
      vocabSizes: { encoder: vocabSize, decoder: one ? vocabSize : config.int('decoder_vocab_size', vocabSize) },
      names: [],
    });
  },
};
