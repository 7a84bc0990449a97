// Command R. Cohere 2024, https://cohere.com/blog/command-r
import { ops } from 'onnxformers';
import type { Family } from '../family';
import type { PackedEntry } from '../names';
import { decoderWith } from '../translate/heads';
import { attentionNames, gluNames, headSizes, llamaFeedforward, llamaMixer, llamaStyle, outerNames } from '../translate/llama';
import { rotaryOf } from '../translate/rotary';

/** The norms of the heads, stored as the rows of one tensor. */
const headNorms = (p: 'q' | 'k', heads: number): PackedEntry => ({
  theirs: `model.layers.{i}.self_attn.${p}_norm.weight`,
  ours: Array.from({ length: heads }, (_, h) => `stack.layers.{i}.mixer.${p}_norm.norms.${h}.weight`),
  take: (rows, h) => ops.squeeze(ops.slice(rows, { axes: [0], starts: [h], ends: [h + 1] }), [0]),
  join: (rows) =>
    ops.concat(
      rows.map((row) => ops.unsqueeze(row, [0])),
      0,
    ),
});

/** Cohere's Command R: one norm for both sub-layers, neighbours rotated as pairs, scaled logits. */
export const cohere: Family = {
  ...llamaStyle,
  modelTypes: ['cohere'],
  translate(config, at) {
    const { heads, kvHeads, headDim } = headSizes(config);
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
            mixer: llamaMixer(config, {
              rotaryEmbedding: rotaryOf(config, { headDim, interleaved: true }),
              ...(config.flag('use_qk_norm', false) && { qkNorm: norm, qkNormOver: 'eachHead' }),
            }),
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
      packed: [headNorms('q', heads), headNorms('k', kvHeads)],
    };
  },
};
