// MPNet. Song et al. 2020, https://arxiv.org/abs/2004.09297
import type { Family } from '../family';
import { activationOf } from '../translate/activation';
import { encoderWith } from '../translate/heads';
import { bertNorm } from './bert';
import { robertaHeads, robertaWeights } from './roberta';

/** The padding id that positions are counted from. */
const padId = 1;

/** MPNet: BERT's layers with one table of relative positions, that all layers share. */
export const mpnet: Family = {
  modelTypes: ['mpnet'],
  ...robertaWeights('mpnet.'),
  translate(config, at) {
    const norm = bertNorm(config);
    const heads = config.int('num_attention_heads');
    const layer = 'mpnet.encoder.layer.{i}';
    const backbone = {
      dim: config.int('hidden_size'),
      seqLen: config.int('max_position_embeddings') - padId - 1,
      embedding: { name: 'vocab', vocabSize: config.int('vocab_size'), positionOffset: padId + 1, padId },
      embeddingNorm: norm,
      stack: {
        name: 'stack',
        depth: config.int('num_hidden_layers'),
        sharedBias: true,
        layers: {
          name: 'post_norm',
          mixer: {
            name: 'multi_head',
            heads,
            attentionBias: { name: 't5_relative', buckets: config.int('relative_attention_num_buckets', 32) },
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
    const head = encoderWith(config, at, backbone, robertaHeads(config, at, 'mpnet.'));
    return {
      config: head.config,
      names: [
        ['mpnet.embeddings.LayerNorm.{x}', 'embeddingNorm.{x}'],
        ['mpnet.embeddings.{table}.weight', 'embedding.{table}.weight'],
        ['mpnet.encoder.relative_attention_bias.weight', 'stack.layers.0.mixer.attention_bias.relative_attention_bias.weight'],
        [`${layer}.attention.attn.{p}.{x}`, 'stack.layers.{i}.mixer.{p}_proj.{x}'],
        [`${layer}.attention.LayerNorm.{x}`, 'stack.layers.{i}.norm1.{x}'],
        [`${layer}.intermediate.dense.{x}`, 'stack.layers.{i}.feedforward.up.{x}'],
        [`${layer}.output.dense.{x}`, 'stack.layers.{i}.feedforward.down.{x}'],
        [`${layer}.output.LayerNorm.{x}`, 'stack.layers.{i}.norm2.{x}'],
        ...head.names,
      ],
    };
  },
};
