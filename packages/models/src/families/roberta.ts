// RoBERTa. Liu et al. 2019, https://arxiv.org/abs/1907.11692
import type { ConfigReader } from '../config';
import type { Checkpoint, Family } from '../family';
import { classifierHead, type EncoderHeads, encoderWith, maskedLmHead, poolerHead } from '../translate/heads';
import { bertNames, bertNorm, bertStack } from './bert';

/** The heads that RoBERTa and MPNet share; `lm_head` has an erf gelu whatever the config says. */
export const robertaHeads = (config: ConfigReader, at: Checkpoint, prefix: string): EncoderHeads => ({
  base: () => poolerHead(at, `${prefix}pooler.dense`),
  masked_lm: () =>
    maskedLmHead(
      config,
      at,
      'lm_head.decoder.weight',
      { activation: 'gelu', norm: { ...bertNorm(config), eps: config.num('layer_norm_eps', 1e-5) } },
      [
        ['lm_head.dense.{x}', 'transform.{x}'],
        ['lm_head.layer_norm.{x}', 'norm.{x}'],
        ['lm_head.decoder.weight', 'head.weight'],
        ['lm_head.bias', 'head.bias'],
      ],
    ),
  sequence_classification: () => classifierHead(config, 'tanh', 'classifier.dense', 'classifier.out_proj'),
});

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
    const head = encoderWith(config, at, backbone, robertaHeads(config, at, 'roberta.'));
    return { config: head.config, names: [...bertNames('roberta.'), ...head.names] };
  },
};
