// T5. Raffel et al. 2020, https://arxiv.org/abs/1910.10683
import type { ConfigReader } from '../config';
import type { BlockConfig, Family } from '../family';
import type { NameEntry } from '../names';
import { isTied } from '../translate/heads';

type Side = 'encoder' | 'decoder';

/** The feed-forward that `feed_forward_proj` names: an activation, or a gated one. */
function feedforwardOf(config: ConfigReader): BlockConfig {
  const kind = config.text('feed_forward_proj', 'relu');
  const activations: Readonly<Record<string, string>> = { relu: 'relu', gelu: 'gelu_tanh', gelu_new: 'gelu_tanh', silu: 'silu' };
  const activation = activations[kind.replace(/^gated-/, '')];
  if (!activation) throw config.refuse('feed_forward_proj', 'a feed-forward that is not known', 'relu, gated-gelu, gated-silu');
  return { name: kind.startsWith('gated-') ? 'glu' : 'mlp', hidden: config.int('d_ff'), bias: false, activation };
}

function stackFor(config: ConfigReader, side: Side): BlockConfig {
  const norm = { name: 'rms_norm', eps: config.num('layer_norm_epsilon', 1e-6) };
  const mixer = {
    name: 'multi_head',
    heads: config.int('num_heads'),
    headDim: config.int('d_kv'),
    bias: false,
    attention: { name: 'scaled_dot_product', scale: 1 },
  };
  const depth = config.int('num_layers');
  const attentionBias = {
    name: 't5_relative',
    bidirectional: side === 'encoder',
    buckets: config.int('relative_attention_num_buckets', 32),
    maxDistance: config.int('relative_attention_max_distance', 128),
  };
  return {
    name: 'stack',
    depth: side === 'encoder' ? depth : config.int('num_decoder_layers', depth),
    sharedBias: true,
    layers: {
      name: 'pre_norm',
      mixer: { ...mixer, attentionBias },
      ...(side === 'decoder' && { cross: { ...mixer, cross: true } }),
      feedforward: feedforwardOf(config),
      norm,
    },
    norm,
  };
}

/** Names of one side, whose names of ours begin with `prefix`. */
function namesFor(config: ConfigReader, side: Side, prefix = `${side}.`): readonly NameEntry[] {
  const [theirs, ours] = [`${side}.block.{i}.layer`, `${prefix}stack.layers.{i}`];
  const last = side === 'encoder' ? 1 : 2;
  const down = feedforwardOf(config).name === 'glu' ? 'down_proj' : 'down';
  return [
    [`${theirs}.0.SelfAttention.relative_attention_bias.{x}`, `${ours}.mixer.attention_bias.relative_attention_bias.{x}`],
    [`${theirs}.0.SelfAttention.{p}.{x}`, `${ours}.mixer.{p}_proj.{x}`],
    [`${theirs}.0.layer_norm.{x}`, `${ours}.norm1.{x}`],
    ...(side === 'decoder'
      ? ([
          [`${theirs}.1.EncDecAttention.{p}.{x}`, `${ours}.cross.{p}_proj.{x}`],
          [`${theirs}.1.layer_norm.{x}`, `${ours}.norm_cross.{x}`],
        ] as const)
      : []),
    [`${theirs}.${last}.DenseReluDense.wi_0.{x}`, `${ours}.feedforward.gate_proj.{x}`],
    [`${theirs}.${last}.DenseReluDense.wi_1.{x}`, `${ours}.feedforward.up_proj.{x}`],
    [`${theirs}.${last}.DenseReluDense.wi.{x}`, `${ours}.feedforward.up.{x}`],
    [`${theirs}.${last}.DenseReluDense.wo.{x}`, `${ours}.feedforward.${down}.{x}`],
    [`${theirs}.${last}.layer_norm.{x}`, `${ours}.norm2.{x}`],
    [`${side}.final_layer_norm.{x}`, `${prefix}stack.norm.{x}`],
  ];
}

/** Whether the checkpoint is of an encoder alone: T5EncoderModel. */
const isEncoder = (config: ConfigReader): boolean => /EncoderModel$/.test(String(config.list('architectures')?.[0]));

/** T5 and its later versions, or their encoder alone: relative positions, no scale of the scores, no biases. */
export const t5: Family = {
  modelTypes: ['t5', 'mt5'],
  tasks: ['base', 'seq2seq_lm'],
  prefix: '',
  // The first files store a bias of cross attention that has no effect.
  unused: [/^lm_head\./, /^decoder\.block\.0\.layer\.1\.EncDecAttention\.relative_attention_bias\./],
  repeated: [
    ['lm_head.weight', 'shared.weight'],
    ['encoder.embed_tokens.weight', 'shared.weight'],
    ['decoder.embed_tokens.weight', 'shared.weight'],
  ],
  translate(config, at) {
    const dim = config.int('d_model');
    const vocabSize = config.int('vocab_size');
    const half = (side: Side): BlockConfig => ({
      name: side,
      embedding: { name: 'token', vocabSize },
      stack: stackFor(config, side),
    });
    if (at.task === 'base' && isEncoder(config))
      return {
        config: { ...half('encoder'), dim },
        names: [['shared.weight', 'embedding.weight'], ...namesFor(config, 'encoder', '')],
      };
    const names: readonly NameEntry[] = [
      ['shared.weight', 'encoder.embedding.weight'],
      ...namesFor(config, 'encoder'),
      ...namesFor(config, 'decoder'),
    ];
    const model = { name: 'encoder_decoder', dim, tiedEmbeddings: true, encoder: half('encoder'), decoder: half('decoder') };
    if (at.task === 'base') return { config: model, names };
    const tied = isTied(config, at, 'lm_head.weight');
    const scaled = config.flag('scale_decoder_outputs', config.flag('tie_word_embeddings', true));
    return {
      config: { ...model, vocabSize, tied, ...(scaled && { headScale: dim ** -0.5 }) },
      names: [...names, ['lm_head.weight', 'head.weight']],
    };
  },
};
