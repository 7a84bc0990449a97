// MPT. MosaicML 2023, https://www.databricks.com/blog/mpt-7b
import type { Family } from '../family';
import { decoderWith } from '../translate/heads';

/** MPT: linear biases of the scores, no biases anywhere, fused projections. */
export const mpt: Family = {
  modelTypes: ['mpt'],
  tasks: ['base', 'causal_lm', 'sequence_classification'],
  prefix: 'transformer.',
  unused: [/^lm_head\./, /^score\./],
  repeated: [['lm_head.weight', 'transformer.wte.weight']],
  translate(config, at) {
    const attention = config.section('attn_config');
    const norm = { name: 'layer_norm', eps: config.num('layer_norm_epsilon', 1e-5), bias: false };
    const scale = attention?.has('softmax_scale') && {
      attention: { name: 'scaled_dot_product', scale: attention.num('softmax_scale') },
    };
    const head = decoderWith(
      config,
      at,
      {
        dim: config.int('d_model'),
        embedding: { name: 'token', vocabSize: config.int('vocab_size') },
        stack: {
          name: 'stack',
          depth: config.int('n_layers'),
          layers: {
            name: 'pre_norm',
            mixer: {
              name: 'multi_head',
              heads: config.int('n_heads'),
              bias: false,
              fused: true,
              attentionBias: 'alibi',
              ...(attention?.has('clip_qkv') && { clipQkv: attention.num('clip_qkv') }),
              ...scale,
            },
            feedforward: { name: 'mlp', bias: false, activation: 'gelu' },
            norm,
          },
          norm,
        },
      },
      { tied: true },
    );
    const layer = 'transformer.blocks.{i}';
    return {
      config: head.config,
      names: [
        ['transformer.wte.weight', 'embedding.weight'],
        [`${layer}.norm_1.{x}`, 'stack.layers.{i}.norm1.{x}'],
        [`${layer}.attn.Wqkv.{x}`, 'stack.layers.{i}.mixer.qkv_proj.{x}'],
        [`${layer}.attn.out_proj.{x}`, 'stack.layers.{i}.mixer.o_proj.{x}'],
        [`${layer}.norm_2.{x}`, 'stack.layers.{i}.norm2.{x}'],
        [`${layer}.ffn.up_proj.{x}`, 'stack.layers.{i}.feedforward.up.{x}'],
        [`${layer}.ffn.down_proj.{x}`, 'stack.layers.{i}.feedforward.down.{x}'],
        ['transformer.norm_f.{x}', 'stack.norm.{x}'],
        ...head.names,
      ],
    };
  },
};
