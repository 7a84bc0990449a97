// Qwen3-Next. Qwen Team 2025, https://qwen.ai/blog?id=qwen3-next
import { ops, type Value } from 'onnxformers';
import type { ConfigReader } from '../config';
import type { BlockConfig, Family } from '../family';
import type { PackedEntry } from '../names';
import { activationOf } from '../translate/activation';
import { decoderWith } from '../translate/heads';
import { headSizes, llamaFeedforward, llamaMixer, llamaNames, llamaStyle, rmsNormOf, stackOf } from '../translate/llama';
import { mixtureNames } from '../translate/mixture';
import { rotaryOf } from '../translate/rotary';
import { isSparse, qwenMixture } from './qwen3-moe';

/** Norms multiply by 1 + weight. */
const normOf = (config: ConfigReader): BlockConfig => ({ ...rmsNormOf(config), unitOffset: true });

/** Every so many layers attend to all positions, the others are recurrences. */
function mixerOf(config: ConfigReader, layer: number): BlockConfig {
  const kind = config.list('layer_types')?.[layer];
  const full = kind === undefined ? (layer + 1) % config.int('full_attention_interval', 4) === 0 : kind === 'full_attention';
  if (!full)
    return {
      name: 'gated_delta_net',
      heads: config.int('linear_num_value_heads'),
      keyHeads: config.int('linear_num_key_heads'),
      headDim: config.int('linear_key_head_dim'),
      valueHeadDim: config.int('linear_value_head_dim'),
      convWidth: config.int('linear_conv_kernel_dim', 4),
    };
  const { headDim } = headSizes(config);
  return llamaMixer(config, {
    qkNorm: normOf(config),
    gate: 'channel',
    rotaryEmbedding: rotaryOf(config, { headDim, partial: config.num('partial_rotary_factor', 0.25) }),
  });
}

const feedforwardOf = (config: ConfigReader, layer: number): BlockConfig =>
  isSparse(config, layer)
    ? qwenMixture(config, {
        normalize: config.flag('norm_topk_prob', true),
        shared: {
          name: 'glu',
          hidden: config.int('shared_expert_intermediate_size'),
          bias: false,
          activation: activationOf(config, 'hidden_act', 'silu'),
        },
        sharedGate: true,
      })
    : llamaFeedforward(config);

/** For each head its query, then its gate. */
function queriesWithGates(heads: number, headDim: number): PackedEntry {
  const rest = (x: Value) => x.dims.slice(1);
  return {
    theirs: 'model.layers.{i}.self_attn.q_proj.{x}',
    ours: ['stack.layers.{i}.mixer.q_proj.{x}', 'stack.layers.{i}.mixer.gate_proj.{x}'],
    take(x, part) {
      const grouped = ops.reshape(x, [heads, 2, headDim, ...rest(x)]);
      return ops.reshape(ops.slice(grouped, { axes: [1], starts: [part], ends: [part + 1] }), [heads * headDim, ...rest(x)]);
    },
    join([q, gate]) {
      const grouped = [q!, gate!].map((x) => ops.reshape(x, [heads, 1, headDim, ...rest(x)]));
      return ops.reshape(ops.concat(grouped, 1), [2 * heads * headDim, ...rest(q!)]);
    },
  };
}

/** Qwen3-Next: three layers of gated delta nets for each of gated attention, experts in each. */
export const qwen3Next: Family = {
  ...llamaStyle,
  modelTypes: ['qwen3_next'],
  unused: [...llamaStyle.unused, /^mtp\./],
  translate(config, at) {
    const norm = normOf(config);
    const { heads, headDim } = headSizes(config);
    const head = decoderWith(config, at, {
      dim: config.int('hidden_size'),
      embedding: { name: 'token', vocabSize: config.int('vocab_size') },
      stack: stackOf(
        config.int('num_hidden_layers'),
        (i) => ({ name: 'pre_norm', mixer: mixerOf(config, i), feedforward: feedforwardOf(config, i), norm }),
        norm,
      ),
    });
    const [theirs, ours] = ['model.layers.{i}', 'stack.layers.{i}'];
    return {
      config: head.config,
      names: [
        [`${theirs}.linear_attn.{x}`, `${ours}.mixer.{x}`],
        [`${theirs}.mlp.shared_expert_gate.{x}`, `${ours}.feedforward.shared_gate.{x}`],
        [`${theirs}.mlp.shared_expert.{p}_proj.{x}`, `${ours}.feedforward.shared.{p}_proj.{x}`],
        ...mixtureNames,
        ...llamaNames,
        ...head.names,
      ],
      packed: [queriesWithGates(heads, headDim)],
    };
  },
};
