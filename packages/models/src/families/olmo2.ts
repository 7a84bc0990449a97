// OLMo 2. Walsh et al. 2024, https://arxiv.org/abs/2501.00656
import type { Family } from '../family';
import { decoderWith } from '../translate/heads';
import { attentionNames, gluNames, llamaFeedforward, llamaMixer, llamaStyle, outerNames, rmsNormOf } from '../translate/llama';

/** OLMo 2: norms of the results of the sub-layers only, and of all channels of queries and keys. */
export const olmo2: Family = {
  ...llamaStyle,
  modelTypes: ['olmo2'],
  translate(config, at) {
    const norm = rmsNormOf(config);
    const head = decoderWith(config, at, {
      dim: config.int('hidden_size'),
      embedding: { name: 'token', vocabSize: config.int('vocab_size') },
      stack: {
        name: 'stack',
        depth: config.int('num_hidden_layers'),
        layers: {
          name: 'sandwich_norm',
          normBefore: false,
          mixer: llamaMixer(config, { qkNorm: norm, qkNormOver: 'all' }),
          feedforward: llamaFeedforward(config),
          norm,
        },
        norm,
      },
    });
    return {
      config: head.config,
      names: [
        ...outerNames,
        ...attentionNames,
        ['model.layers.{i}.post_attention_layernorm.{x}', 'stack.layers.{i}.result_norm1.{x}'],
        ['model.layers.{i}.post_feedforward_layernorm.{x}', 'stack.layers.{i}.result_norm2.{x}'],
        ...gluNames,
        ...head.names,
      ],
    };
  },
};
