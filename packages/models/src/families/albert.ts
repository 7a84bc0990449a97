// ALBERT. Lan et al. 2019, https://arxiv.org/abs/1909.11942
import type { ConfigReader } from '../config';
import type { Checkpoint, Family } from '../family';
import { activationOf } from '../translate/activation';
import { classifierHead, type EncoderHeads, encoderWith, maskedLmHead, poolerHead } from '../translate/heads';
import { bertNorm } from './bert';

const headsOf = (config: ConfigReader, at: Checkpoint): EncoderHeads => ({
  base: () => poolerHead(at, 'albert.pooler'),
  masked_lm: () =>
    maskedLmHead(
      config,
      at,
      'predictions.decoder.weight',
      {
        transformDim: config.int('embedding_size'),
        activation: activationOf(config, 'hidden_act', 'gelu_new'),
        norm: bertNorm(config),
      },
      [
        ['predictions.dense.{x}', 'transform.{x}'],
        ['predictions.LayerNorm.{x}', 'norm.{x}'],
        ['predictions.decoder.weight', 'head.weight'],
        ['predictions.bias', 'head.bias'],
      ],
    ),
  sequence_classification: () => classifierHead(config, 'tanh', 'albert.pooler', 'classifier'),
});

/** ALBERT: few layers, each of which runs several times; narrow embeddings. */
export const albert: Family = {
  modelTypes: ['albert'],
  tasks: ['base', 'masked_lm', 'sequence_classification', 'token_classification', 'question_answering'],
  prefix: 'albert.',
  unused: [/^predictions\./, /^sop_classifier\./, /^albert\.pooler\./, /^classifier\./, /^qa_outputs\./],
  repeated: [
    ['predictions.decoder.weight', 'albert.embeddings.word_embeddings.weight'],
    ['predictions.decoder.bias', 'predictions.bias'],
  ],
  translate(config, at) {
    const groups = config.int('num_hidden_groups', 1);
    const inner = config.int('inner_group_num', 1);
    const steps = config.int('num_hidden_layers');
    if (steps % groups)
      throw config.refuse('num_hidden_layers', 'the layers cannot be divided among the groups', `a multiple of ${groups}`);
    const norm = bertNorm(config);
    const head = encoderWith(
      config,
      at,
      {
        dim: config.int('hidden_size'),
        seqLen: config.int('max_position_embeddings'),
        embeddingDim: config.int('embedding_size', 128),
        embedding: { name: 'vocab', vocabSize: config.int('vocab_size'), typeVocabSize: config.int('type_vocab_size', 2) },
        embeddingNorm: norm,
        stack: {
          name: 'stack',
          depth: groups * inner,
          repeats: steps / groups,
          groupSize: inner,
          layers: {
            name: 'post_norm',
            mixer: { name: 'multi_head', heads: config.int('num_attention_heads') },
            feedforward: {
              name: 'mlp',
              hidden: config.int('intermediate_size'),
              activation: activationOf(config, 'hidden_act', 'gelu_new'),
            },
            norm,
          },
        },
      },
      headsOf(config, at),
    );
    const layers = Array.from({ length: groups * inner }, (_, i) => {
      const theirs = `albert.encoder.albert_layer_groups.${Math.floor(i / inner)}.albert_layers.${i % inner}`;
      const ours = `stack.layers.${i}`;
      return [
        [`${theirs}.attention.query.{x}`, `${ours}.mixer.q_proj.{x}`],
        [`${theirs}.attention.key.{x}`, `${ours}.mixer.k_proj.{x}`],
        [`${theirs}.attention.value.{x}`, `${ours}.mixer.v_proj.{x}`],
        [`${theirs}.attention.dense.{x}`, `${ours}.mixer.o_proj.{x}`],
        [`${theirs}.attention.LayerNorm.{x}`, `${ours}.norm1.{x}`],
        [`${theirs}.ffn.{x}`, `${ours}.feedforward.up.{x}`],
        [`${theirs}.ffn_output.{x}`, `${ours}.feedforward.down.{x}`],
        [`${theirs}.full_layer_layer_norm.{x}`, `${ours}.norm2.{x}`],
      ] as const;
    });
    return {
      config: head.config,
      names: [
        ['albert.embeddings.LayerNorm.{x}', 'embeddingNorm.{x}'],
        ['albert.embeddings.{table}.weight', 'embedding.{table}.weight'],
        ['albert.encoder.embedding_hidden_mapping_in.{x}', 'embedding_projection.{x}'],
        ...layers.flat(),
        ...head.names,
      ],
    };
  },
};
