// BLOOM. Le Scao et al. 2022, https://arxiv.org/abs/2211.05100
import type { Family } from '../family';
import { regrouped } from '../names';
import { decoderWith } from '../translate/heads';

/** BLOOM: linear biases of the scores instead of positions, a norm after the embedding. */
export const bloom: Family = {
  modelTypes: ['bloom'],
  tasks: ['base', 'causal_lm', 'sequence_classification'],
  prefix: 'transformer.',
  unused: [/^lm_head\./, /^score\./],
  repeated: [['lm_head.weight', 'transformer.word_embeddings.weight']],
  translate(config, at) {
    const dim = config.int('hidden_size', config.int('n_embed', 0));
    const heads = config.int('n_head', config.int('num_attention_heads', 0));
    const norm = { name: 'layer_norm', eps: config.num('layer_norm_epsilon', 1e-5) };
    const head = decoderWith(
      config,
      at,
      {
        dim,
        embedding: { name: 'token', vocabSize: config.int('vocab_size') },
        embeddingNorm: norm,
        stack: {
          name: 'stack',
          depth: config.int('n_layer', config.int('num_hidden_layers', 0)),
          layers: {
            name: 'pre_norm',
            normResidual: config.flag('apply_residual_connection_post_layernorm', false),
            mixer: { name: 'multi_head', heads, fused: true, attentionBias: 'alibi' },
            feedforward: { name: 'mlp', activation: 'gelu_tanh' },
            norm,
          },
          norm,
        },
      },
      { tied: true },
    );
    const layer = 'transformer.h.{i}';
    return {
      config: head.config,
      names: [
        ['transformer.word_embeddings.weight', 'embedding.weight'],
        ['transformer.word_embeddings_layernorm.{x}', 'embeddingNorm.{x}'],
        [`${layer}.input_layernorm.{x}`, 'stack.layers.{i}.norm1.{x}'],
        [
          `${layer}.self_attention.query_key_value.{x}`,
          'stack.layers.{i}.mixer.qkv_proj.{x}',
          regrouped([heads, 3, dim / heads], [1, 0, 2]),
        ],
        [`${layer}.self_attention.dense.{x}`, 'stack.layers.{i}.mixer.o_proj.{x}'],
        [`${layer}.post_attention_layernorm.{x}`, 'stack.layers.{i}.norm2.{x}'],
        [`${layer}.mlp.dense_h_to_4h.{x}`, 'stack.layers.{i}.feedforward.up.{x}'],
        [`${layer}.mlp.dense_4h_to_h.{x}`, 'stack.layers.{i}.feedforward.down.{x}'],
        ['transformer.ln_f.{x}', 'stack.norm.{x}'],
        ...head.names,
      ],
    };
  },
};
