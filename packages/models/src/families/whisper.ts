// Whisper. Radford et al. 2022, https://arxiv.org/abs/2212.04356
import type { ConfigReader } from '../config';
import type { BlockConfig, Family } from '../family';
import { type NameEntry, reshaped } from '../names';
import { bartLayerNames, bartStack, type Side } from './bart';

/** Layers with a norm before each sub-layer and behind the last one; keys have no bias. */
const stackFor = (config: ConfigReader, side: Side): BlockConfig => ({
  ...bartStack(config, side, 'pre_norm', { keyBias: false }),
  norm: 'layer_norm',
});

/** Whisper: speech to text. Its encoder reads log-mel frames, `features` [batch, frames, mel bands]. */
export const whisper: Family = {
  modelTypes: ['whisper'],
  tasks: ['base', 'seq2seq_lm'],
  prefix: 'model.',
  unused: [/^proj_out\./],
  repeated: [['proj_out.weight', 'model.decoder.embed_tokens.weight']],
  translate(config, at) {
    const dim = config.int('d_model');
    const vocabSize = config.int('vocab_size');
    const rows = { encoder: config.int('max_source_positions', 1500), decoder: config.int('max_target_positions', 448) };
    const position = (side: Side): BlockConfig => ({ name: 'learnable', seqLen: rows[side] });
    const scale = config.flag('scale_embedding', false) ? Math.sqrt(dim) : 1;
    const model = {
      name: 'encoder_decoder',
      dim,
      encoder: {
        name: 'encoder',
        embedding: { name: 'conv_stem', inChannels: config.int('num_mel_bins', 80) },
        position: position('encoder'),
        stack: stackFor(config, 'encoder'),
      },
      decoder: {
        name: 'decoder',
        embedding: { name: 'token', vocabSize, scale },
        position: position('decoder'),
        stack: stackFor(config, 'decoder'),
      },
    };
    const table = (side: Side): NameEntry => [
      `model.${side}.embed_positions.weight`,
      `${side}.position.pos_emb`,
      reshaped([rows[side], dim], [1, rows[side], dim]),
    ];
    const names: readonly NameEntry[] = [
      ['model.encoder.conv{n}.{x}', 'encoder.embedding.conv{n}.{x}'],
      ['model.decoder.embed_tokens.weight', 'decoder.embedding.weight'],
      table('encoder'),
      table('decoder'),
      ...bartLayerNames('encoder'),
      ...bartLayerNames('decoder'),
      ['model.{side}.layer_norm.{x}', '{side}.stack.norm.{x}'],
    ];
    if (at.task === 'base') return { config: model, names };
    const tied = !at.has('proj_out.weight');
    return { config: { ...model, vocabSize, tied }, names: [...names, ['proj_out.weight', 'head.weight']] };
  },
};
