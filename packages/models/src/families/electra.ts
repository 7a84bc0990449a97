// ELECTRA. Clark et al. 2020, https://arxiv.org/abs/2003.10555
import type { ConfigReader } from '../config';
import type { Checkpoint, Family } from '../family';
import { activationOf } from '../translate/activation';
import { classifierHead, type EncoderHeads, encoderWith, maskedLmHead } from '../translate/heads';
import { bertNames, bertNorm, bertStack } from './bert';

const headsOf = (config: ConfigReader, at: Checkpoint): EncoderHeads => ({
  masked_lm: () =>
    maskedLmHead(
      config,
      at,
      'generator_lm_head.weight',
      { transformDim: config.int('embedding_size'), activation: 'gelu', norm: bertNorm(config) },
      [
        ['generator_predictions.dense.{x}', 'transform.{x}'],
        ['generator_predictions.LayerNorm.{x}', 'norm.{x}'],
        ['generator_lm_head.{x}', 'head.{x}'],
      ],
    ),
  replaced_token_detection: () => ({
    config: { name: 'token_classifier', transform: activationOf(config, 'hidden_act', 'gelu') },
    names: [
      ['discriminator_predictions.dense.{x}', 'transform.{x}'],
      ['discriminator_predictions.dense_prediction.{x}', 'head.{x}'],
    ],
  }),
  sequence_classification: () => classifierHead(config, 'gelu', 'classifier.dense', 'classifier.out_proj'),
});

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
    const head = encoderWith(
      config,
      at,
      {
        dim: config.int('hidden_size'),
        seqLen: config.int('max_position_embeddings'),
        embeddingDim: config.int('embedding_size', config.int('hidden_size')),
        embedding: { name: 'vocab', vocabSize: config.int('vocab_size'), typeVocabSize: config.int('type_vocab_size', 2) },
        embeddingNorm: bertNorm(config),
        stack: bertStack(config),
      },
      headsOf(config, at),
    );
    return {
      config: head.config,
      names: [['electra.embeddings_project.{x}', 'embedding_projection.{x}'], ...bertNames('electra.'), ...head.names],
    };
  },
};
