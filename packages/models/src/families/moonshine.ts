// Moonshine. Jeffries et al. 2024, https://arxiv.org/abs/2410.15608
import type { ConfigReader } from '../config';
import type { BlockConfig, Family } from '../family';
import { type NameEntry, reordered } from '../names';
import { activationOf } from '../translate/activation';
import { isTied } from '../translate/heads';
import { rotaryOf } from '../translate/rotary';

type Side = 'encoder' | 'decoder';

const norm = { name: 'layer_norm', bias: false } as const;

/** Layers with a norm before each sub-layer; pairs of neighbouring channels are rotated, except where a decoder attends to the encoder. */
function stackFor(config: ConfigReader, side: Side): BlockConfig {
  const dim = config.int('hidden_size');
  const hidden = config.int('intermediate_size');
  const heads = config.int(`${side}_num_attention_heads`, 8);
  const mixer = {
    name: 'multi_head',
    heads,
    kvHeads: config.int(`${side}_num_key_value_heads`, heads),
    bias: config.flag('attention_bias', false),
    outBias: false,
  };
  const rotaryEmbedding = rotaryOf(config, { headDim: Math.floor(dim / heads), partial: 0.9, interleaved: true });
  const activation = activationOf(config, `${side}_hidden_act`, side === 'encoder' ? 'gelu' : 'silu');
  return {
    name: 'stack',
    depth: config.int(`${side}_num_hidden_layers`),
    layers: {
      name: 'pre_norm',
      mixer: { ...mixer, rotaryEmbedding },
      ...(side === 'decoder' && { cross: { ...mixer, cross: true } }),
      feedforward: side === 'decoder' ? { name: 'glu', hidden, packed: true, activation } : { name: 'mlp', hidden, activation },
      norm,
    },
    norm,
  };
}

function namesFor(side: Side, hidden: number): readonly NameEntry[] {
  const [theirs, ours] = [`model.${side}.layers.{i}`, `${side}.stack.layers.{i}`];
  const shared: readonly NameEntry[] = [
    [`${theirs}.self_attn.{p}_proj.{x}`, `${ours}.mixer.{p}_proj.{x}`],
    [`${theirs}.input_layernorm.{x}`, `${ours}.norm1.{x}`],
  ];
  if (side === 'encoder')
    return [
      ...shared,
      [`${theirs}.post_attention_layernorm.{x}`, `${ours}.norm2.{x}`],
      [`${theirs}.mlp.fc1.{x}`, `${ours}.feedforward.up.{x}`],
      [`${theirs}.mlp.fc2.{x}`, `${ours}.feedforward.down.{x}`],
      ['model.encoder.layer_norm.{x}', 'encoder.stack.norm.{x}'],
      ['model.encoder.conv{n}.{x}', 'encoder.embedding.conv{n}.{x}'],
      ['model.encoder.groupnorm.{x}', 'encoder.embedding.groupnorm.{x}'],
    ];
  return [
    ...shared,
    [`${theirs}.encoder_attn.{p}_proj.{x}`, `${ours}.cross.{p}_proj.{x}`],
    [`${theirs}.post_attention_layernorm.{x}`, `${ours}.norm_cross.{x}`],
    [`${theirs}.final_layernorm.{x}`, `${ours}.norm2.{x}`],
    // The gate comes second.
    [`${theirs}.mlp.fc1.{x}`, `${ours}.feedforward.gate_up_proj.{x}`, reordered([1, 0], hidden)],
    [`${theirs}.mlp.fc2.{x}`, `${ours}.feedforward.down_proj.{x}`],
    ['model.decoder.norm.{x}', 'decoder.stack.norm.{x}'],
    ['model.decoder.embed_tokens.weight', 'decoder.embedding.weight'],
  ];
}

/** Moonshine: speech to text. Its encoder reads samples, `features` [batch, samples, 1]. */
export const moonshine: Family = {
  modelTypes: ['moonshine'],
  tasks: ['base', 'seq2seq_lm'],
  prefix: 'model.',
  unused: [/^proj_out\./],
  repeated: [['proj_out.weight', 'model.decoder.embed_tokens.weight']],
  translate(config, at) {
    const vocabSize = config.int('vocab_size');
    const hidden = config.int('intermediate_size');
    const model = {
      name: 'encoder_decoder',
      dim: config.int('hidden_size'),
      encoder: { name: 'encoder', embedding: 'waveform_stem', stack: stackFor(config, 'encoder') },
      decoder: { name: 'decoder', embedding: { name: 'token', vocabSize }, stack: stackFor(config, 'decoder') },
    };
    const names = [...namesFor('encoder', hidden), ...namesFor('decoder', hidden)];
    if (at.task === 'base') return { config: model, names };
    const tied = isTied(config, at, 'proj_out.weight');
    return { config: { ...model, vocabSize, tied }, names: [...names, ['proj_out.weight', 'head.weight']] };
  },
};
