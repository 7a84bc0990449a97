// GPT-NeoX. Black et al. 2022, https://arxiv.org/abs/2204.06745
import type { Family } from '../family';
import { regrouped } from '../names';
import { activationOf } from '../translate/activation';
import { decoderWith } from '../translate/heads';
import { rotaryOf } from '../translate/rotary';

/** GPT-NeoX and Pythia: both sub-layers read the same input, each through its own norm. */
export const gptNeox: Family = {
  modelTypes: ['gpt_neox'],
  tasks: ['base', 'causal_lm', 'sequence_classification'],
  prefix: 'gpt_neox.',
  unused: [/^embed_out\./, /^score\./],
  repeated: [['embed_out.weight', 'gpt_neox.embed_in.weight']],
  translate(config, at) {
    const dim = config.int('hidden_size');
    const heads = config.int('num_attention_heads');
    const headDim = dim / heads;
    const norm = { name: 'layer_norm', eps: config.num('layer_norm_eps', 1e-5) };
    const rotary = rotaryOf(config, {
      headDim,
      partial: config.num('rotary_pct', 0.25),
      theta: config.num('rotary_emb_base', 10_000),
    });
    const head = decoderWith(
      config,
      at,
      {
        dim,
        embedding: { name: 'token', vocabSize: config.int('vocab_size') },
        stack: {
          name: 'stack',
          depth: config.int('num_hidden_layers'),
          layers: {
            ...(config.flag('use_parallel_residual', true) ? { name: 'parallel', sharedNorm: false } : { name: 'pre_norm' }),
            mixer: {
              name: 'multi_head',
              heads,
              fused: true,
              bias: config.flag('attention_bias', true),
              rotaryEmbedding: rotary,
            },
            feedforward: {
              name: 'mlp',
              hidden: config.int('intermediate_size'),
              activation: activationOf(config, 'hidden_act', 'gelu'),
            },
            norm,
          },
          norm,
        },
      },
      { head: 'embed_out.weight' },
    );
    const layer = 'gpt_neox.layers.{i}';
    return {
      config: head.config,
      names: [
        ['gpt_neox.embed_in.weight', 'embedding.weight'],
        [`${layer}.input_layernorm.{x}`, 'stack.layers.{i}.norm1.{x}'],
        [
          `${layer}.attention.query_key_value.{x}`,
          'stack.layers.{i}.mixer.qkv_proj.{x}',
          regrouped([heads, 3, headDim], [1, 0, 2]),
        ],
        [`${layer}.attention.dense.{x}`, 'stack.layers.{i}.mixer.o_proj.{x}'],
        [`${layer}.post_attention_layernorm.{x}`, 'stack.layers.{i}.norm2.{x}'],
        [`${layer}.mlp.dense_h_to_4h.{x}`, 'stack.layers.{i}.feedforward.up.{x}'],
        [`${layer}.mlp.dense_4h_to_h.{x}`, 'stack.layers.{i}.feedforward.down.{x}'],
        ['gpt_neox.final_layer_norm.{x}', 'stack.norm.{x}'],
        ...head.names,
      ],
    };
  },
};
