// Command R. Cohere 2024, https://cohere.com/blog/command-r
import type { Family } from '../family';
import { decoderWith } from '../translate/heads';
import { attentionNames, gluNames, headSizes, llamaFeedforward, llamaMixer, llamaStyle, outerNames } from '../translate/llama';
import { rotaryOf } from '../translate/rotary';

/** Cohere's Command R: one norm for both sub-layers, neighbours rotated as pairs, scaled logits. */
export const cohere: Family = {
  ...llamaStyle,
  modelTypes: ['cohere'],
  translate(config, at) {
    if (config.flag('use_qk_norm', false))
      throw config.refuse(
        'use_qk_norm',
        'norms of queries and keys with weights for each head in one tensor are not supported',
        'false',
      );
    const { headDim } = headSizes(config);
    const norm = { name: 'layer_norm', eps: config.num('layer_norm_eps', 1e-5), bias: false };
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
            mixer: llamaMixer(config, { rotaryEmbedding: rotaryOf(config, { headDim, interleaved: true }) }),
            feedforward: llamaFeedforward(config),
            norm,
          },
          norm,
        },
      },
      { tied: true, logitScale: config.num('logit_scale', 0.0625) },
    );
    return {
      config: head.config,
      names: [
        ...outerNames,
        ['model.layers.{i}.input_layernorm.{x}', 'stack.layers.{i}.norm.{x}'],
        ...attentionNames,
        ...gluNames,
        ...head.names,
      ],
    };
  },
};
