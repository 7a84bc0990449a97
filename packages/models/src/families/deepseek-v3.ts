// DeepSeek-V3. DeepSeek-AI 2024, https://arxiv.org/abs/2412.19437
import type { ConfigReader } from '../config';
import type { BlockConfig, Family } from '../family';
import { activationOf } from '../translate/activation';
import { decoderWith } from '../translate/heads';
import { llamaFeedforward, llamaNames, llamaStyle, rmsNormOf, stackOf } from '../translate/llama';
import { mixtureNames } from '../translate/mixture';
import { rotaryOf } from '../translate/rotary';

/** YaRN's factor of cosines and sines, and of the scores. */
const magnitude = (factor: number, scale: number): number => (factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1);

/** Latent attention. Some YaRN configs have factors of their own for the rotated channels and for the scores. */
function mixerOf(config: ConfigReader): BlockConfig {
  const [headDim, ropeHeadDim] = [config.int('qk_nope_head_dim'), config.int('qk_rope_head_dim')];
  const rotary = rotaryOf(config, { headDim: ropeHeadDim, interleaved: config.flag('rope_interleave', true) });
  const scaling = config.section('rope_parameters') ?? config.section('rope_scaling');
  const [factor, all, one] = ['factor', 'mscale_all_dim', 'mscale'].map((key) => (scaling?.has(key) ? scaling.num(key) : 0)) as [
    number,
    number,
    number,
  ];
  const long = rotary.scaling !== undefined;
  return {
    name: 'multi_head_latent',
    heads: config.int('num_attention_heads'),
    rank: config.int('kv_lora_rank'),
    ...(config.has('q_lora_rank') && { queryRank: config.int('q_lora_rank') }),
    headDim,
    ropeHeadDim,
    valueHeadDim: config.int('v_head_dim'),
    bias: config.flag('attention_bias', false),
    scale: (headDim + ropeHeadDim) ** -0.5 * (long && all ? magnitude(factor, all) ** 2 : 1),
    rotaryEmbedding:
      long && all && one ? { ...rotary, attentionFactor: magnitude(factor, one) / magnitude(factor, all) } : rotary,
  };
}

function mixtureOf(config: ConfigReader): BlockConfig {
  const hidden = config.int('moe_intermediate_size');
  const activation = activationOf(config, 'hidden_act', 'silu');
  return {
    name: 'sparse_moe',
    hidden,
    experts: config.int('n_routed_experts'),
    topK: config.int('num_experts_per_tok'),
    scores: 'sigmoid',
    correctionBias: true,
    normalize: config.flag('norm_topk_prob', true),
    scale: config.num('routed_scaling_factor', 1),
    groups: config.int('n_group', 1),
    topGroups: config.int('topk_group', 1),
    activation,
    shared: { name: 'glu', hidden: hidden * config.int('n_shared_experts', 1), bias: false, activation },
  };
}

/** DeepSeek-V3: latent attention, and after some first layers experts in groups, with one that all tokens use. */
export const deepseekV3: Family = {
  ...llamaStyle,
  modelTypes: ['deepseek_v3'],
  // Layers that predict further tokens in training.
  unused: [...llamaStyle.unused, /^model\.layers\.\d+\.(eh_proj|enorm|hnorm|shared_head)\./],
  translate(config, at) {
    const norm = rmsNormOf(config);
    const dense = config.int('first_k_dense_replace', 3);
    const layer = (i: number): BlockConfig => ({
      name: 'pre_norm',
      mixer: mixerOf(config),
      feedforward: i < dense ? { ...llamaFeedforward(config), bias: false } : mixtureOf(config),
      norm,
    });
    const head = decoderWith(config, at, {
      dim: config.int('hidden_size'),
      embedding: { name: 'token', vocabSize: config.int('vocab_size') },
      stack: stackOf(config.int('num_hidden_layers'), layer, norm),
    });
    const theirs = 'model.layers.{i}';
    const ours = 'stack.layers.{i}';
    return {
      config: head.config,
      names: [
        [`${theirs}.mlp.gate.e_score_correction_bias`, `${ours}.feedforward.router.correction`],
        [`${theirs}.mlp.shared_experts.{p}_proj.{x}`, `${ours}.feedforward.shared.{p}_proj.{x}`],
        ...mixtureNames,
        [`${theirs}.self_attn.kv_a_proj_with_mqa.{x}`, `${ours}.mixer.kv_a_proj_with_mqa.{x}`],
        [`${theirs}.self_attn.{p}_layernorm.{x}`, `${ours}.mixer.{p}_layernorm.{x}`],
        ...llamaNames,
        ...head.names,
      ],
    };
  },
};
