// OPT. Zhang et al. 2022, https://arxiv.org/abs/2205.01068
import type { Family } from '../family';
import { activationOf } from '../translate/activation';
import { decoderWith } from '../translate/heads';

/** Rows of the position table before position 0. */
const offset = 2;

/** OPT: learned positions; in one size norms after the sub-layers and narrow words. */
export const opt: Family = {
  modelTypes: ['opt'],
  tasks: ['base', 'causal_lm', 'sequence_classification'],
  prefix: 'model.',
  unused: [/^lm_head\./, /^score\./],
  repeated: [['lm_head.weight', 'model.decoder.embed_tokens.weight']],
  translate(config, at) {
    const dim = config.int('hidden_size');
    // Words may be narrower than the layers; the last hidden states then are, too.
    const wordDim = config.int('word_embed_proj_dim', dim);
    const before = config.flag('do_layer_norm_before', true);
    const norm = { name: 'layer_norm', bias: config.flag('layer_norm_elementwise_affine', true) };
    const bias = config.flag('enable_bias', true);
    const head = decoderWith(
      config,
      at,
      {
        dim,
        seqLen: config.int('max_position_embeddings'),
        embedding: { name: 'vocab', vocabSize: config.int('vocab_size'), positionOffset: offset, wordDim },
        stack: {
          name: 'stack',
          depth: config.int('num_hidden_layers'),
          layers: {
            name: before ? 'pre_norm' : 'post_norm',
            mixer: { name: 'multi_head', heads: config.int('num_attention_heads'), bias },
            feedforward: {
              name: 'mlp',
              hidden: config.int('ffn_dim'),
              bias,
              activation: activationOf(config, 'activation_function', 'relu'),
            },
            norm,
          },
          ...(before && !config.flag('_remove_final_layer_norm', false) && { norm }),
          ...(wordDim !== dim && { outDim: wordDim, projection: true }),
        },
      },
      { tied: true },
    );
    const layer = 'model.decoder.layers.{i}';
    return {
      config: head.config,
      names: [
        ['model.decoder.embed_tokens.weight', 'embedding.word_embeddings.weight'],
        ['model.decoder.project_in.{x}', 'embedding.word_projection.{x}'],
        ['model.decoder.project_out.{x}', 'stack.projection.{x}'],
        ['model.decoder.embed_positions.weight', 'embedding.position_embeddings.weight'],
        [`${layer}.self_attn.out_proj.{x}`, 'stack.layers.{i}.mixer.o_proj.{x}'],
        [`${layer}.self_attn.{p}_proj.{x}`, 'stack.layers.{i}.mixer.{p}_proj.{x}'],
        [`${layer}.self_attn_layer_norm.{x}`, 'stack.layers.{i}.norm1.{x}'],
        [`${layer}.fc1.{x}`, 'stack.layers.{i}.feedforward.up.{x}'],
        [`${layer}.fc2.{x}`, 'stack.layers.{i}.feedforward.down.{x}'],
        [`${layer}.final_layer_norm.{x}`, 'stack.layers.{i}.norm2.{x}'],
        ['model.decoder.final_layer_norm.{x}', 'stack.norm.{x}'],
        ...head.names,
      ],
    };
  },
};
