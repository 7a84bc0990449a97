// Phi-3 and Phi-4. Abdin et al. 2024, https://arxiv.org/abs/2404.14219
import type { Family } from '../family';
import { activationOf } from '../translate/activation';
import { decoderWith } from '../translate/heads';
import { headSizes, llamaStyle, outerNames, preNormNames, rmsNormOf, windowed, windowOf } from '../translate/llama';
import { rotaryOf } from '../translate/rotary';

/** Phi-3: Llama with fused projections; long contexts by LongRoPE. */
export const phi3: Family = {
  ...llamaStyle,
  modelTypes: ['phi3'],
  translate(config, at) {
    const norm = rmsNormOf(config);
    const sizes = headSizes(config);
    const head = decoderWith(config, at, {
      dim: config.int('hidden_size'),
      embedding: { name: 'token', vocabSize: config.int('vocab_size') },
      stack: {
        name: 'stack',
        depth: config.int('num_hidden_layers'),
        layers: {
          name: 'pre_norm',
          mixer: {
            name: 'multi_head',
            ...sizes,
            bias: config.flag('attention_bias', false),
            fused: true,
            attention: windowed(windowOf(config)),
            // Old files call LongRoPE by other names.
            rotaryEmbedding: rotaryOf(config, { headDim: sizes.headDim, longrope: ['su', 'yarn'] }),
          },
          feedforward: {
            name: 'glu',
            hidden: config.int('intermediate_size'),
            bias: false,
            packed: true,
            activation: activationOf(config, 'hidden_act', 'silu'),
          },
          norm,
        },
        norm,
      },
    });
    return {
      config: head.config,
      names: [
        ...outerNames,
        ...preNormNames,
        ['model.layers.{i}.self_attn.qkv_proj.{x}', 'stack.layers.{i}.mixer.qkv_proj.{x}'],
        ['model.layers.{i}.self_attn.o_proj.{x}', 'stack.layers.{i}.mixer.o_proj.{x}'],
        ['model.layers.{i}.mlp.{p}_proj.{x}', 'stack.layers.{i}.feedforward.{p}_proj.{x}'],
        ...head.names,
      ],
    };
  },
};
