// ModernBERT. Warner et al. 2024, https://arxiv.org/abs/2412.13663
import type { ConfigReader } from '../config';
import type { BlockConfig, Checkpoint, Family } from '../family';
import { activationOf } from '../translate/activation';
import { type EncoderHeads, encoderWith, labelsOf, maskedLmHead } from '../translate/heads';
import { stackOf, windowedLayers } from '../translate/llama';
import { rotaryOf } from '../translate/rotary';

const normOf = (config: ConfigReader): BlockConfig => ({
  name: 'layer_norm',
  eps: config.num('norm_eps', 1e-5),
  bias: config.flag('norm_bias', false),
});

/** A layer: every so many attend to all positions, the others within a window; the first has no norm before its attention. */
function layerOf(config: ConfigReader, windowed: boolean, first: boolean): BlockConfig {
  const heads = config.int('num_attention_heads');
  const headDim = config.int('hidden_size') / heads;
  const reach = Math.floor(config.int('local_attention', 128) / 2);
  const norm = normOf(config);
  const bias = config.flag('mlp_bias', false);
  return {
    name: 'pre_norm',
    mixer: {
      name: 'multi_head',
      heads,
      fused: true,
      bias: config.flag('attention_bias', false),
      attention: windowed ? { name: 'local', window: 2 * reach + 1 } : 'scaled_dot_product',
      rotaryEmbedding: windowed
        ? rotaryOf(config, { headDim, layerType: 'sliding_attention', thetaKey: 'local_rope_theta' })
        : rotaryOf(config, { headDim, layerType: 'full_attention', thetaKey: 'global_rope_theta', theta: 160_000 }),
    },
    feedforward: {
      name: 'glu',
      hidden: config.int('intermediate_size'),
      bias,
      packed: true,
      activation: activationOf(config, 'hidden_activation', 'gelu'),
    },
    norm: first ? ['identity', norm] : norm,
  };
}

function headsOf(config: ConfigReader, at: Checkpoint): EncoderHeads {
  const transformBias = config.flag('classifier_bias', false);
  const activation = activationOf(config, 'classifier_activation', 'gelu');
  const norm = normOf(config);
  const transform = { transform: activation, transformBias, transformNorm: norm };
  const names = (head: string) =>
    [
      ['head.dense.{x}', 'transform.{x}'],
      ['head.norm.{x}', 'norm.{x}'],
      [`${head}.{x}`, 'head.{x}'],
    ] as const;
  const pooling = config.text('classifier_pooling', 'cls') === 'cls' ? 'first' : 'mean';
  return {
    masked_lm: () =>
      maskedLmHead(
        config,
        at,
        'decoder.weight',
        { headBias: config.flag('decoder_bias', true), transformBias, activation, norm },
        names('decoder'),
      ),
    sequence_classification: () => ({
      config: { name: 'classifier', classes: labelsOf(config), pooling, ...transform },
      names: names('classifier'),
    }),
    token_classification: () => ({
      config: { name: 'token_classifier', classes: labelsOf(config), ...transform },
      names: names('classifier'),
    }),
  };
}

/** ModernBERT: pre-norm layers with rotary embeddings, windows in most of them, gated feed-forwards. */
export const modernbert: Family = {
  modelTypes: ['modernbert'],
  tasks: ['base', 'masked_lm', 'sequence_classification', 'token_classification'],
  prefix: 'model.',
  unused: [/^head\./, /^decoder\./, /^classifier\./],
  repeated: [['decoder.weight', 'model.embeddings.tok_embeddings.weight']],
  translate(config, at) {
    const every = config.int('global_attn_every_n_layers', 3);
    const windows = windowedLayers(config, (i) => i % every !== 0);
    const head = encoderWith(
      config,
      at,
      {
        dim: config.int('hidden_size'),
        embedding: { name: 'token', vocabSize: config.int('vocab_size') },
        embeddingNorm: normOf(config),
        stack: stackOf(windows.length, (i) => layerOf(config, windows[i]!, i === 0), normOf(config)),
      },
      headsOf(config, at),
    );
    const layer = 'model.layers.{i}';
    return {
      config: head.config,
      names: [
        ['model.embeddings.tok_embeddings.weight', 'embedding.weight'],
        ['model.embeddings.norm.{x}', 'embeddingNorm.{x}'],
        [`${layer}.attn_norm.{x}`, 'stack.layers.{i}.norm1.{x}'],
        [`${layer}.attn.Wqkv.{x}`, 'stack.layers.{i}.mixer.qkv_proj.{x}'],
        [`${layer}.attn.Wo.{x}`, 'stack.layers.{i}.mixer.o_proj.{x}'],
        [`${layer}.mlp_norm.{x}`, 'stack.layers.{i}.norm2.{x}'],
        [`${layer}.mlp.Wi.{x}`, 'stack.layers.{i}.feedforward.gate_up_proj.{x}'],
        [`${layer}.mlp.Wo.{x}`, 'stack.layers.{i}.feedforward.down_proj.{x}'],
        ['model.final_norm.{x}', 'stack.norm.{x}'],
        ...head.names,
      ],
    };
  },
};
