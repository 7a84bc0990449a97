// ELECTRA. Clark et al. 2020, https://arxiv.org/abs/2003.10555
import type { ConfigReader } from '../config';
import type { Checkpoint, Family, Translation } from '../family';
import { activationOf } from '../translate/activation';
import { type Backbone, isTied, labelsOf } from '../translate/heads';
import { bertNames, bertNorm, bertStack, positionHead } from './bert';

function headOf(config: ConfigReader, at: Checkpoint, backbone: Backbone): Translation {
  const onPositions = positionHead(config, at, backbone);
  if (onPositions) return onPositions;
  switch (at.task) {
    case 'masked_lm': {
      const weight = 'generator_lm_head.weight';
      return {
        config: {
          name: 'masked_lm',
          ...backbone,
          vocabSize: config.int('vocab_size'),
          tied: isTied(config, at, weight),
          transformDim: config.int('embedding_size'),
          activation: 'gelu',
          norm: bertNorm(config),
        },
        names: [
          ['generator_predictions.dense.{x}', 'transform.{x}'],
          ['generator_predictions.LayerNorm.{x}', 'norm.{x}'],
          ['generator_lm_head.{x}', 'head.{x}'],
        ],
      };
    }
    case 'replaced_token_detection':
      return {
        config: { name: 'token_classifier', ...backbone, transform: activationOf(config, 'hidden_act', 'gelu') },
        names: [
          ['discriminator_predictions.dense.{x}', 'transform.{x}'],
          ['discriminator_predictions.dense_prediction.{x}', 'head.{x}'],
        ],
      };
    case 'sequence_classification':
      return {
        config: { name: 'classifier', ...backbone, classes: labelsOf(config), pooling: 'first', transform: 'gelu' },
        names: [
          ['classifier.dense.{x}', 'transform.{x}'],
          ['classifier.out_proj.{x}', 'head.{x}'],
        ],
      };
    default:
      return { config: { name: 'encoder', ...backbone }, names: [] };
  }
}

/** ELECTRA: BERT's layers; embeddings may be narrower. Generator and discriminator. */
export const electra: Family = {
  modelTypes: ['electra'],
  tasks: [
    'base',
    'masked_lm',
    'replaced_token_detection',
    'sequence_classification',
    'token_classification',
    'question_answering',
  ],
  prefix: 'electra.',
  unused: [/^generator_/, /^discriminator_/, /^classifier\./, /^qa_outputs\./],
  repeated: [['generator_lm_head.weight', 'electra.embeddings.word_embeddings.weight']],
  translate(config, at) {
    const head = headOf(config, at, {
      dim: config.int('hidden_size'),
      seqLen: config.int('max_position_embeddings'),
      embeddingDim: config.int('embedding_size', config.int('hidden_size')),
      embedding: { name: 'vocab', vocabSize: config.int('vocab_size'), typeVocabSize: config.int('type_vocab_size', 2) },
      embeddingNorm: bertNorm(config),
      stack: bertStack(config),
    });
    return {
      config: head.config,
      names: [['electra.embeddings_project.{x}', 'embedding_projection.{x}'], ...bertNames('electra.'), ...head.names],
    };
  },
};
