// Falcon. Almazrouei et al. 2023, https://arxiv.org/abs/2311.16867
import type { ConfigReader } from '../config';
import type { Family } from '../family';
import { type Form, regrouped, reordered } from '../names';
import { activationOf } from '../translate/activation';
import { decoderWith } from '../translate/heads';
import { rotaryOf } from '../translate/rotary';

/** How query_key_value is stored: keys and values per group of query heads. */
interface Projection {
  readonly kvHeads: number;
  readonly form: Form | undefined;
}

function projectionOf(config: ConfigReader, heads: number, headDim: number): Projection {
  if (config.flag('new_decoder_architecture', false)) {
    const kvHeads = config.int('num_kv_heads', heads);
    return { kvHeads, form: grouped(kvHeads, heads / kvHeads, headDim) };
  }
  // All queries, one key, one value.
  if (config.flag('multi_query', true)) return { kvHeads: 1, form: undefined };
  return { kvHeads: heads, form: regrouped([heads, 3, headDim], [1, 0, 2]) };
}

/** Falcon with 40 billion parameters and more: for each key head its query heads, then key and value. */
function grouped(kvHeads: number, perGroup: number, headDim: number): Form {
  const order = Array.from({ length: kvHeads }, (_, g) => Array.from({ length: perGroup + 2 }, (_, i) => g * (perGroup + 2) + i));
  const rows = [
    ...order.flatMap((group) => group.slice(0, perGroup)),
    ...order.map((group) => group[perGroup]!),
    ...order.map((group) => group[perGroup + 1]!),
  ];
  return reordered(rows, headDim);
}

/** Falcon: multi-query attention, both sub-layers on the same input. */
export const falcon: Family = {
  modelTypes: ['falcon'],
  tasks: ['base', 'causal_lm', 'sequence_classification'],
  prefix: 'transformer.',
  unused: [/^lm_head\./, /^score\./],
  repeated: [['lm_head.weight', 'transformer.word_embeddings.weight']],
  translate(config, at) {
    const dim = config.int('hidden_size');
    const heads = config.int('num_attention_heads');
    const headDim = dim / heads;
    const { kvHeads, form } = projectionOf(config, heads, headDim);
    const renewed = config.flag('new_decoder_architecture', false);
    const parallel = renewed || config.flag('parallel_attn', true);
    const twoNorms = renewed && config.int('num_ln_in_parallel_attn', 2) === 2;
    const norm = { name: 'layer_norm', eps: config.num('layer_norm_epsilon', 1e-5) };
    const bias = config.flag('bias', false);
    const positions = config.flag('alibi', false)
      ? {
          attentionBias: {
            name: 'alibi',
            roundedPositions: config.int('max_position_embeddings', 2048),
            scale: 1 / Math.sqrt(headDim),
          },
        }
      : { rotaryEmbedding: rotaryOf(config, { headDim }) };
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
            ...(parallel ? { name: 'parallel', sharedNorm: !twoNorms } : { name: 'pre_norm' }),
            mixer: { name: 'multi_head', heads, kvHeads, bias, fused: true, ...positions },
            feedforward: {
              name: 'mlp',
              hidden: config.int('ffn_hidden_size', 4 * dim),
              bias,
              activation: activationOf(config, 'activation', 'gelu'),
            },
            norm,
          },
          norm,
        },
      },
      { tied: true },
    );
    const layer = 'transformer.h.{i}';
    const qkv = [`${layer}.self_attention.query_key_value.{x}`, 'stack.layers.{i}.mixer.qkv_proj.{x}'] as const;
    return {
      config: head.config,
      names: [
        ['transformer.word_embeddings.weight', 'embedding.weight'],
        ...(twoNorms
          ? ([
              [`${layer}.ln_attn.{x}`, 'stack.layers.{i}.norm1.{x}'],
              [`${layer}.ln_mlp.{x}`, 'stack.layers.{i}.norm2.{x}'],
            ] as const)
          : ([
              [`${layer}.input_layernorm.{x}`, `stack.layers.{i}.norm${parallel ? '' : '1'}.{x}`],
              [`${layer}.post_attention_layernorm.{x}`, 'stack.layers.{i}.norm2.{x}'],
            ] as const)),
        form ? [...qkv, form] : qkv,
        [`${layer}.self_attention.dense.{x}`, 'stack.layers.{i}.mixer.o_proj.{x}'],
        [`${layer}.mlp.dense_h_to_4h.{x}`, 'stack.layers.{i}.feedforward.up.{x}'],
        [`${layer}.mlp.dense_4h_to_h.{x}`, 'stack.layers.{i}.feedforward.down.{x}'],
        ['transformer.ln_f.{x}', 'stack.norm.{x}'],
        ...head.names,
      ],
    };
  },
};
