// StarCoder2. Lozhkov et al. 2024, https://arxiv.org/abs/2402.19173
import type { Family } from '../family';
import { activationOf } from '../translate/activation';
import { decoderWith } from '../translate/heads';
import { attentionNames, llamaMixer, llamaStyle, outerNames, preNormNames, windowed, windowOf } from '../translate/llama';

/** StarCoder2: Llama's attention with biases and a window, norms and a feed-forward as in GPT-2. */
export const starcoder2: Family = {
  ...llamaStyle,
  modelTypes: ['starcoder2'],
  translate(config, at) {
    const norm = { name: 'layer_norm', eps: config.num('norm_epsilon', 1e-5) };
    const bias = config.flag('use_bias', true);
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
            name: 'pre_norm',
            mixer: llamaMixer(config, { bias, attention: windowed(windowOf(config)) }),
            feedforward: {
              name: 'mlp',
              hidden: config.int('intermediate_size'),
              bias,
              activation: activationOf(config, 'hidden_act', 'gelu_pytorch_tanh'),
            },
            norm,
          },
          norm,
        },
      },
      { tied: true },
    );
    return {
      config: head.config,
      names: [
        ...outerNames,
        ...preNormNames,
        ...attentionNames,
        ['model.layers.{i}.mlp.c_fc.{x}', 'stack.layers.{i}.feedforward.up.{x}'],
        ['model.layers.{i}.mlp.c_proj.{x}', 'stack.layers.{i}.feedforward.down.{x}'],
        ...head.names,
      ],
    };
  },
};
