// RoBERTa. Liu et al. 2019, https://arxiv.org/abs/1907.11692
import type { ConfigReader } from '../config';
import type { Checkpoint, Family, Translation } from '../family';
import { type Backbone, isTied, labelsOf } from '../translate/heads';
import { bertNames, bertNorm, bertStack, positionHead } from './bert';

/** The heads that RoBERTa and MPNet share; `lm_head` has an erf gelu whatever the config says. */
export function robertaHead(config: ConfigReader, at: Checkpoint, backbone: Backbone, prefix: string): Translation {
  const onPositions = positionHead(config, at, backbone);
  if (onPositions) return onPositions;
  switch (at.task) {
    case 'masked_lm':
      return {
        config: {
          name: 'masked_lm',
          ...backbone,
          vocabSize: config.int('vocab_size'),
          tied: isTied(config, at, 'lm_head.decoder.weight'),
          activation: 'gelu',
          norm: { ...bertNorm(config), eps: config.num('layer_norm_eps', 1e-5) },
        },
        names: [
          ['lm_head.dense.{x}', 'transform.{x}'],
          ['lm_head.layer_norm.{x}', 'norm.{x}'],
          ['lm_head.decoder.weight', 'head.weight'],
          ['lm_head.bias', 'head.bias'],
        ],
      };
    case 'sequence_classification':
      return {
        config: { name: 'classifier', ...backbone, classes: labelsOf(config), pooling: 'first', transform: 'tanh' },
        names: [
          ['classifier.dense.{x}', 'transform.{x}'],
          ['classifier.out_proj.{x}', 'head.{x}'],
        ],
      };
    default:
      return at.has(`${prefix}pooler.dense.weight`)
        ? { config: { name: 'pooled_encoder', ...backbone }, names: [[`${prefix}pooler.dense.{x}`, 'pooler.{x}']] }
        : { config: { name: 'encoder', ...backbone }, names: [] };
  }
}

/** Weights that RoBERTa and MPNet store for heads. */
export const robertaWeights = (prefix: string) => ({
  tasks: ['base', 'masked_lm', 'sequence_classification', 'token_classification', 'question_answering'] as const,
  prefix,
  unused: [/^lm_head\./, /\.pooler\./, /^classifier\./, /^qa_outputs\./],
  repeated: [
    ['lm_head.decoder.weight', `${prefix}embeddings.word_embeddings.weight`],
    ['lm_head.decoder.bias', 'lm_head.bias'],
  ] as const,
});

/** RoBERTa and XLM-RoBERTa: BERT's layers, positions counted over the ids that are not padding. */
export const roberta: Family = {
  modelTypes: ['roberta', 'xlm-roberta', 'camembert'],
  ...robertaWeights('roberta.'),
  translate(config, at) {
    const padId = config.int('pad_token_id', 1);
    const backbone = {
      dim: config.int('hidden_size'),
      seqLen: config.int('max_position_embeddings') - padId - 1,
      embedding: {
        name: 'vocab',
        vocabSize: config.int('vocab_size'),
        typeVocabSize: config.int('type_vocab_size', 1),
        positionOffset: padId + 1,
        padId,
      },
      embeddingNorm: bertNorm(config),
      stack: bertStack(config),
    };
    const head = robertaHead(config, at, backbone, 'roberta.');
    return { config: head.config, names: [...bertNames('roberta.'), ...head.names] };
  },
};
