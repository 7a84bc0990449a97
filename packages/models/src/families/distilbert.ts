// DistilBERT. Sanh et al. 2019, https://arxiv.org/abs/1910.01108
import type { ConfigReader } from '../config';
import type { Checkpoint, Family } from '../family';
import { activationOf } from '../translate/activation';
import { classifierHead, type EncoderHeads, encoderWith, maskedLmHead } from '../translate/heads';

const norm = { name: 'layer_norm', eps: 1e-12 };

const headsOf = (config: ConfigReader, at: Checkpoint): EncoderHeads => ({
  masked_lm: () =>
    maskedLmHead(config, at, 'vocab_projector.weight', { activation: activationOf(config, 'activation', 'gelu'), norm }, [
      ['vocab_transform.{x}', 'transform.{x}'],
      ['vocab_layer_norm.{x}', 'norm.{x}'],
      ['vocab_projector.{x}', 'head.{x}'],
    ]),
  sequence_classification: () => classifierHead(config, 'relu', 'pre_classifier', 'classifier'),
});

/** DistilBERT: BERT without token types and pooler. */
export const distilbert: Family = {
  modelTypes: ['distilbert'],
  tasks: ['base', 'masked_lm', 'sequence_classification', 'token_classification', 'question_answering'],
  prefix: 'distilbert.',
  unused: [/^vocab_/, /^(pre_)?classifier\./, /^qa_outputs\./],
  repeated: [['vocab_projector.weight', 'distilbert.embeddings.word_embeddings.weight']],
  translate(config, at) {
    const layer = 'distilbert.transformer.layer.{i}';
    const head = encoderWith(
      config,
      at,
      {
        dim: config.int('dim'),
        seqLen: config.int('max_position_embeddings', 512),
        embedding: { name: 'vocab', vocabSize: config.int('vocab_size') },
        embeddingNorm: norm,
        stack: {
          name: 'stack',
          depth: config.int('n_layers'),
          layers: {
            name: 'post_norm',
            mixer: { name: 'multi_head', heads: config.int('n_heads') },
            feedforward: {
              name: 'mlp',
              hidden: config.int('hidden_dim'),
              activation: activationOf(config, 'activation', 'gelu'),
            },
            norm,
          },
        },
      },
      headsOf(config, at),
    );
    return {
      config: head.config,
      names: [
        ['distilbert.embeddings.LayerNorm.{x}', 'embeddingNorm.{x}'],
        ['distilbert.embeddings.{table}.weight', 'embedding.{table}.weight'],
        [`${layer}.attention.q_lin.{x}`, 'stack.layers.{i}.mixer.q_proj.{x}'],
        [`${layer}.attention.k_lin.{x}`, 'stack.layers.{i}.mixer.k_proj.{x}'],
        [`${layer}.attention.v_lin.{x}`, 'stack.layers.{i}.mixer.v_proj.{x}'],
        [`${layer}.attention.out_lin.{x}`, 'stack.layers.{i}.mixer.o_proj.{x}'],
        [`${layer}.sa_layer_norm.{x}`, 'stack.layers.{i}.norm1.{x}'],
        [`${layer}.ffn.lin1.{x}`, 'stack.layers.{i}.feedforward.up.{x}'],
        [`${layer}.ffn.lin2.{x}`, 'stack.layers.{i}.feedforward.down.{x}'],
        [`${layer}.output_layer_norm.{x}`, 'stack.layers.{i}.norm2.{x}'],
        ...head.names,
      ],
    };
  },
};
