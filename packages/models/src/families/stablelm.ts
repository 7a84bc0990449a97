// StableLM. Bellagente et al. 2024, https://arxiv.org/abs/2402.17834
import type { Family } from '../family';
import { decoderWith } from '../translate/heads';
import { attentionNames, gluNames, headSizes, llamaFeedforward, llamaStyle, outerNames, preNormNames } from '../translate/llama';
import { rotaryOf } from '../translate/rotary';

/** StableLM: Llama with layer norms and part of the channels rotated. */
export const stablelm: Family = {
  ...llamaStyle,
  modelTypes: ['stablelm'],
  translate(config, at) {
    const sizes = headSizes(config);
    const eps = config.num('layer_norm_eps', 1e-5);
    const norm = { name: 'layer_norm', eps };
    const parallel = config.flag('use_parallel_residual', false);
    const head = decoderWith(config, at, {
      dim: config.int('hidden_size'),
      embedding: { name: 'token', vocabSize: config.int('vocab_size') },
      stack: {
        name: 'stack',
        depth: config.int('num_hidden_layers'),
        layers: {
          name: parallel ? 'parallel' : 'pre_norm',
          mixer: {
            name: 'multi_head',
            ...sizes,
            bias: config.flag('use_qkv_bias', false),
            outBias: false,
            rotaryEmbedding: rotaryOf(config, { headDim: sizes.headDim, partial: 0.25 }),
            ...(config.flag('qk_layernorm', false) && { qkNorm: { ...norm, bias: false }, qkNormOver: 'eachHead' }),
          },
          feedforward: llamaFeedforward(config),
          norm,
        },
        norm,
      },
    });
    const layer = 'model.layers.{i}';
    return {
      config: head.config,
      names: [
        ...(parallel ? ([[`${layer}.input_layernorm.{x}`, 'stack.layers.{i}.norm.{x}']] as const) : preNormNames),
        [`${layer}.self_attn.{p}_layernorm.norms.{n}.{x}`, 'stack.layers.{i}.mixer.{p}_norm.norms.{n}.{x}'],
        ...outerNames,
        ...attentionNames,
        ...gluNames,
        ...head.names,
      ],
    };
  },
};
