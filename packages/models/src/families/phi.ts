// Phi-1 to Phi-2. Gunasekar et al. 2023, https://arxiv.org/abs/2306.11644
import type { Family } from '../family';
import { activationOf } from '../translate/activation';
import { decoderWith } from '../translate/heads';
import { headSizes, llamaStyle } from '../translate/llama';
import { rotaryOf } from '../translate/rotary';

/** Phi: both sub-layers read the same normalised input, biases everywhere, part of the channels rotated. */
export const phi: Family = {
  ...llamaStyle,
  modelTypes: ['phi'],
  translate(config, at) {
    const sizes = headSizes(config);
    const eps = config.num('layer_norm_eps', 1e-5);
    const norm = { name: 'layer_norm', eps };
    const head = decoderWith(
      config,
      at,
      {
        dim: config.int('hidden_size'),
        embedding: { name: 'token', vocabSize: config.int('vocab_size') },
        stack: {
          name: 'stack',
          depth: config.int('num_hidden_layers'),
          layers: {
            name: 'parallel',
            mixer: {
              name: 'multi_head',
              ...sizes,
              rotaryEmbedding: rotaryOf(config, { headDim: sizes.headDim, partial: 0.5 }),
              ...(config.flag('qk_layernorm', false) && { qkNorm: norm }),
            },
            feedforward: {
              name: 'mlp',
              hidden: config.int('intermediate_size'),
              activation: activationOf(config, 'hidden_act', 'gelu_new'),
            },
            norm,
          },
          norm,
        },
      },
      { bias: true },
    );
    const layer = 'model.layers.{i}';
    return {
      config: head.config,
      names: [
        ['model.embed_tokens.weight', 'embedding.weight'],
        [`${layer}.input_layernorm.{x}`, 'stack.layers.{i}.norm.{x}'],
        [`${layer}.self_attn.dense.{x}`, 'stack.layers.{i}.mixer.o_proj.{x}'],
        [`${layer}.self_attn.{p}_layernorm.{x}`, 'stack.layers.{i}.mixer.{p}_norm.{x}'],
        [`${layer}.self_attn.{p}_proj.{x}`, 'stack.layers.{i}.mixer.{p}_proj.{x}'],
        [`${layer}.mlp.fc1.{x}`, 'stack.layers.{i}.feedforward.up.{x}'],
        [`${layer}.mlp.fc2.{x}`, 'stack.layers.{i}.feedforward.down.{x}'],
        ['model.final_layernorm.{x}', 'stack.norm.{x}'],
        ...head.names,
      ],
    };
  },
};
