// BERT. Devlin et al. 2018, https://arxiv.org/abs/1810.04805
import type { ConfigReader } from '../config';
import type { BlockConfig, Checkpoint, Family } from '../family';
import type { NameEntry } from '../names';
import { activationOf } from '../translate/activation';
import { classifierHead, type EncoderHeads, encoderWith, type Head, maskedLmHead, poolerHead } from '../translate/heads';

/** The layers of BERT and of the encoders that are made of the same ones: after each sub-layer a norm, biases everywhere. */
export function bertStack(config: ConfigReader): BlockConfig {
  const norm = bertNorm(config);
  return {
    name: 'stack',
    depth: config.int('num_hidden_layers'),
    layers: {
      name: 'post_norm',
      mixer: { name: 'multi_head', heads: config.int('num_attention_heads') },
      feedforward: {
        name: 'mlp',
        hidden: config.int('intermediate_size'),
        activation: activationOf(config, 'hidden_act', 'gelu'),
      },
      norm,
    },
  };
}

/** The norm of all places. */
export const bertNorm = (config: ConfigReader, eps = 1e-12): BlockConfig => ({
  name: 'layer_norm',
  eps: config.num('layer_norm_eps', eps),
});

/** Names of a layer's weights, below the names of two layers. */
export const bertLayer = (theirs: string, ours: string): readonly NameEntry[] => [
  [`${theirs}.attention.self.query.{x}`, `${ours}.mixer.q_proj.{x}`],
  [`${theirs}.attention.self.key.{x}`, `${ours}.mixer.k_proj.{x}`],
  [`${theirs}.attention.self.value.{x}`, `${ours}.mixer.v_proj.{x}`],
  [`${theirs}.attention.output.dense.{x}`, `${ours}.mixer.o_proj.{x}`],
  [`${theirs}.attention.output.LayerNorm.{x}`, `${ours}.norm1.{x}`],
  [`${theirs}.intermediate.dense.{x}`, `${ours}.feedforward.up.{x}`],
  [`${theirs}.output.dense.{x}`, `${ours}.feedforward.down.{x}`],
  [`${theirs}.output.LayerNorm.{x}`, `${ours}.norm2.{x}`],
];

/** Names of the base model below a prefix. */
export const bertNames = (prefix: string): readonly NameEntry[] => [
  [`${prefix}embeddings.LayerNorm.{x}`, 'embeddingNorm.{x}'],
  [`${prefix}embeddings.{table}.weight`, 'embedding.{table}.weight'],
  ...bertLayer(`${prefix}encoder.layer.{i}`, 'stack.layers.{i}'),
];

/** BERT's head of masked tokens. */
export const bertMaskedLm = (config: ConfigReader, at: Checkpoint, norm: BlockConfig): Head =>
  maskedLmHead(config, at, 'cls.predictions.decoder.weight', { activation: activationOf(config, 'hidden_act', 'gelu'), norm }, [
    ['cls.predictions.transform.dense.{x}', 'transform.{x}'],
    ['cls.predictions.transform.LayerNorm.{x}', 'norm.{x}'],
    ['cls.predictions.decoder.weight', 'head.weight'],
    ['cls.predictions.bias', 'head.bias'],
  ]);

const headsOf = (config: ConfigReader, at: Checkpoint): EncoderHeads => ({
  base: () => poolerHead(at, 'bert.pooler.dense'),
  masked_lm: () => bertMaskedLm(config, at, bertNorm(config)),
  sequence_classification: () => classifierHead(config, 'tanh', 'bert.pooler.dense', 'classifier'),
});

/** BERT: words, positions and token types, post-norm layers. */
export const bert: Family = {
  modelTypes: ['bert'],
  tasks: ['base', 'masked_lm', 'sequence_classification', 'token_classification', 'question_answering'],
  prefix: 'bert.',
  unused: [/^cls\./, /^bert\.pooler\./, /^classifier\./, /^qa_outputs\./],
  repeated: [
    ['cls.predictions.decoder.weight', 'bert.embeddings.word_embeddings.weight'],
    ['cls.predictions.decoder.bias', 'cls.predictions.bias'],
  ],
  translate(config, at) {
    const head = encoderWith(
      config,
      at,
      {
        dim: config.int('hidden_size'),
        seqLen: config.int('max_position_embeddings'),
        embedding: { name: 'vocab', vocabSize: config.int('vocab_size'), typeVocabSize: config.int('type_vocab_size', 2) },
        embeddingNorm: bertNorm(config),
        stack: bertStack(config),
      },
      headsOf(config, at),
    );
    return { config: head.config, names: [...bertNames('bert.'), ...head.names] };
  },
};
