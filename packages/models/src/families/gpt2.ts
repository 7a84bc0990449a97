// GPT-2. Radford et al. 2019, Language Models are Unsupervised Multitask Learners
import type { Family } from '../family';
import { transposed } from '../names';
import { activationOf } from '../translate/activation';
import { decoderWith } from '../translate/heads';

/** GPT-2: learned positions, pre-norm layers; linear maps are stored as [in, out]. */
export const gpt2: Family = {
  modelTypes: ['gpt2'],
  tasks: ['base', 'causal_lm', 'sequence_classification'],
  prefix: 'transformer.',
  unused: [/^lm_head\./, /^score\./],
  repeated: [['lm_head.weight', 'transformer.wte.weight']],
  translate(config, at) {
    const dim = config.int('n_embd');
    const depth = config.int('n_layer');
    const heads = config.int('n_head');
    const norm = { name: 'layer_norm', eps: config.num('layer_norm_epsilon', 1e-5) };
    const base = config.flag('scale_attn_weights', true) ? 1 / Math.sqrt(dim / heads) : 1;
    const byDepth = config.flag('scale_attn_by_inverse_layer_idx', false);
    const layer = (i: number) => ({
      name: 'pre_norm',
      mixer: {
        name: 'multi_head',
        heads,
        fused: true,
        ...((byDepth || base === 1) && { attention: { name: 'scaled_dot_product', scale: byDepth ? base / (i + 1) : base } }),
      },
      feedforward: {
        name: 'mlp',
        hidden: config.int('n_inner', 4 * dim),
        activation: activationOf(config, 'activation_function', 'gelu_new'),
      },
      norm,
    });
    const head = decoderWith(
      config,
      at,
      {
        dim,
        seqLen: config.int('n_positions'),
        embedding: { name: 'vocab', vocabSize: config.int('vocab_size') },
        stack: { name: 'stack', depth, layers: byDepth ? Array.from({ length: depth }, (_, i) => layer(i)) : layer(0), norm },
      },
      { tied: true },
    );
    return {
      config: head.config,
      names: [
        ['transformer.wte.weight', 'embedding.word_embeddings.weight'],
        ['transformer.wpe.weight', 'embedding.position_embeddings.weight'],
        ['transformer.h.{i}.ln_1.{x}', 'stack.layers.{i}.norm1.{x}'],
        ['transformer.h.{i}.attn.c_attn.{x}', 'stack.layers.{i}.mixer.qkv_proj.{x}', transposed],
        ['transformer.h.{i}.attn.c_proj.{x}', 'stack.layers.{i}.mixer.o_proj.{x}', transposed],
        ['transformer.h.{i}.ln_2.{x}', 'stack.layers.{i}.norm2.{x}'],
        ['transformer.h.{i}.mlp.c_fc.{x}', 'stack.layers.{i}.feedforward.up.{x}', transposed],
        ['transformer.h.{i}.mlp.c_proj.{x}', 'stack.layers.{i}.feedforward.down.{x}', transposed],
        ['transformer.ln_f.{x}', 'stack.norm.{x}'],
        ...head.names,
      ],
    };
  },
};
