// DeBERTa-v2 and v3. He et al. 2020, https://arxiv.org/abs/2006.03654; He et al. 2021, https://arxiv.org/abs/2111.09543
import type { ConfigReader } from '../config';
import type { BlockConfig, Checkpoint, Family } from '../family';
import type { NameEntry, PackedEntry } from '../names';
import { activationOf } from '../translate/activation';
import { classifierHead, type EncoderHeads, encoderWith } from '../translate/heads';
import { bertMaskedLm, bertNorm } from './bert';

/** Which relative scores there are: a list, or a text with bars. */
function termsOf(config: ConfigReader): readonly string[] {
  const raw = config.raw.pos_att_type;
  const terms = typeof raw === 'string' ? raw.split('|') : (config.list('pos_att_type') ?? []).map(String);
  const unknown = terms.find((term) => term !== 'c2p' && term !== 'p2c');
  if (unknown !== undefined) throw config.refuse('pos_att_type', 'a kind of score that is not known', 'c2p, p2c');
  return terms;
}

/** Relative scores of one layer, and the scale of all scores. */
function scoresOf(config: ConfigReader): { readonly scale: number; readonly attentionBias?: BlockConfig } {
  const heads = config.int('num_attention_heads');
  const terms = config.flag('relative_attention', false) ? termsOf(config) : [];
  const scale = 1 / Math.sqrt((config.int('hidden_size') / heads) * (1 + terms.length));
  if (!terms.length) return { scale };
  const given = config.int('max_relative_positions', -1);
  const longest = given < 1 ? config.int('max_position_embeddings') : given;
  const buckets = config.int('position_buckets', -1);
  const normed = config.text('norm_rel_ebd', 'none').includes('layer_norm');
  return {
    scale,
    attentionBias: {
      name: 'disentangled',
      span: buckets > 0 ? buckets : longest,
      ...(buckets > 0 && { buckets: true, maxDistance: longest }),
      contentToPosition: terms.includes('c2p'),
      positionToContent: terms.includes('p2c'),
      scale,
      ...(normed && { norm: bertNorm(config, 1e-7) }),
    },
  };
}

/** One stored tensor that several weights of ours are. */
const copies = (theirs: string, ours: readonly string[]): PackedEntry => ({
  theirs,
  ours,
  take: (x) => x,
  join: ([first]) => first!,
});

const headsOf = (config: ConfigReader, at: Checkpoint): EncoderHeads => ({
  masked_lm: () => bertMaskedLm(config, at, bertNorm(config, 1e-7)),
  sequence_classification: () =>
    classifierHead(config, activationOf(config, 'pooler_hidden_act', 'gelu'), 'pooler.dense', 'classifier'),
});

/**
 * DeBERTa-v2 and v3: BERT's layers whose scores also depend on contents and distances. Refused: the convolution beside the first layer (`conv_kernel_size`, in the two largest
 * v2 models), and embeddings of another width than the layers.
 */
export const debertaV2: Family = {
  modelTypes: ['deberta-v2'],
  tasks: ['base', 'masked_lm', 'sequence_classification', 'token_classification', 'question_answering'],
  prefix: 'deberta.',
  unused: [/^cls\./, /^lm_predictions\./, /^mask_predictions\./, /^pooler\./, /^classifier\./, /^qa_outputs\./],
  repeated: [
    ['cls.predictions.decoder.weight', 'deberta.embeddings.word_embeddings.weight'],
    ['cls.predictions.decoder.bias', 'cls.predictions.bias'],
  ],
  translate(config, at) {
    const dim = config.int('hidden_size');
    if (config.int('conv_kernel_size', 0) > 0)
      throw config.refuse('conv_kernel_size', 'the convolution beside the first layer is not supported', '0');
    if (config.int('embedding_size', dim) !== dim)
      throw config.refuse('embedding_size', 'embeddings of another width are not supported', `hidden_size = ${dim}`);
    const positions = config.flag('position_biased_input', true);
    const types = config.int('type_vocab_size', 0);
    if (!positions && types > 0)
      throw config.refuse('type_vocab_size', 'token types without absolute positions are not supported', '0');
    const { scale, attentionBias } = scoresOf(config);
    const depth = config.int('num_hidden_layers');
    const vocabSize = config.int('vocab_size');
    const norm = bertNorm(config, 1e-7);
    const backbone = {
      dim,
      ...(positions && { seqLen: config.int('max_position_embeddings') }),
      embedding: positions
        ? { name: 'vocab', vocabSize, ...(types > 0 && { typeVocabSize: types }) }
        : { name: 'token', vocabSize },
      embeddingNorm: norm,
      stack: {
        name: 'stack',
        depth,
        layers: {
          name: 'post_norm',
          mixer: {
            name: 'multi_head',
            heads: config.int('num_attention_heads'),
            attention: { name: 'scaled_dot_product', scale },
            ...(attentionBias && { attentionBias }),
          },
          feedforward: {
            name: 'mlp',
            hidden: config.int('intermediate_size'),
            activation: activationOf(config, 'hidden_act', 'gelu'),
          },
          norm,
        },
      },
    };
    const head = encoderWith(config, at, backbone, headsOf(config, at));
    const [layer, ours] = ['deberta.encoder.layer.{i}', 'stack.layers.{i}'];
    const self = `${layer}.attention.self`;
    const bias = `${ours}.mixer.attention_bias`;
    const everywhere = (name: string) => Array.from({ length: depth }, (_, i) => `${bias}.${name}`.replace('{i}', String(i)));
    const shared = config.flag('share_att_key', false);
    const names: readonly NameEntry[] = [
      ['deberta.embeddings.LayerNorm.{x}', 'embeddingNorm.{x}'],
      positions
        ? ['deberta.embeddings.{table}.weight', 'embedding.{table}.weight']
        : ['deberta.embeddings.word_embeddings.weight', 'embedding.weight'],
      [`${self}.pos_key_proj.{x}`, `${bias}.pos_key_proj.{x}`],
      [`${self}.pos_query_proj.{x}`, `${bias}.pos_query_proj.{x}`],
      [`${self}.query_proj.{x}`, `${ours}.mixer.q_proj.{x}`],
      [`${self}.key_proj.{x}`, `${ours}.mixer.k_proj.{x}`],
      [`${self}.value_proj.{x}`, `${ours}.mixer.v_proj.{x}`],
      [`${layer}.attention.output.dense.{x}`, `${ours}.mixer.o_proj.{x}`],
      [`${layer}.attention.output.LayerNorm.{x}`, `${ours}.norm1.{x}`],
      [`${layer}.intermediate.dense.{x}`, `${ours}.feedforward.up.{x}`],
      [`${layer}.output.dense.{x}`, `${ours}.feedforward.down.{x}`],
      [`${layer}.output.LayerNorm.{x}`, `${ours}.norm2.{x}`],
      ...head.names,
    ];
    const packed: readonly PackedEntry[] = attentionBias
      ? [
          copies('deberta.encoder.rel_embeddings.weight', everywhere('rel_embeddings.weight')),
          copies('deberta.encoder.LayerNorm.weight', everywhere('norm.weight')),
          copies('deberta.encoder.LayerNorm.bias', everywhere('norm.bias')),
          ...(shared
            ? [
                ...(attentionBias.positionToContent
                  ? [copies(`${self}.query_proj.{x}`, [`${ours}.mixer.q_proj.{x}`, `${bias}.pos_query_proj.{x}`])]
                  : []),
                ...(attentionBias.contentToPosition
                  ? [copies(`${self}.key_proj.{x}`, [`${ours}.mixer.k_proj.{x}`, `${bias}.pos_key_proj.{x}`])]
                  : []),
              ]
            : []),
        ]
      : [];
    return { config: head.config, names, packed };
  },
};
