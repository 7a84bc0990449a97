// Encoder and decoder blocks, and whole models.
import { type AnyModule, type Tensor, type Value, withContext } from '@onnxformers/core';
import type { FixtureCase } from '../fixture-set';
import { build, type Inputs, type Player, playOf, recorded, tensorOf, weightsOf } from '../play';
import { asRows } from './channels';
import { masked, maskOf } from './masks';
import { memoryOf } from './multi-head';
import { recordedPattern } from './random-pattern';
import { recordedDraws } from './recorded-draws';

interface HeadConfig {
  readonly num_heads: number;
}

/** The input of a backbone: ids or pixels with an embedding, hidden states without. */
function inputName({ children }: AnyModule, prefix = ''): string {
  const embedding = children.embedding as AnyModule | undefined;
  return `${prefix}${!embedding ? 'x' : embedding.about.blockName === 'patch' ? 'pixels' : 'ids'}`;
}

const feedsOf = (c: FixtureCase, ...rows: readonly string[]): Record<string, Tensor> =>
  Object.fromEntries([...c.in].map(([name, t]) => [name, rows.includes(name) ? asRows(t) : t]));

const hidden = (outputs: Record<string, Value>): { y: Value } => ({ y: outputs.hidden_states! });

const given = (inputs: Readonly<Record<string, Value | undefined>>): Inputs =>
  Object.fromEntries(Object.entries(inputs).filter((entry): entry is [string, Value] => entry[1] !== undefined));

/** One encoder block on x. */
export const encoderBlock: Player = (c) => {
  const pattern = recordedPattern(c);
  const options = { ...recorded, inputMasks: c.in.has('input_mask') };
  const built = build('model', c.config, weightsOf(c), options, pattern.change);
  const { num_heads: heads } = c.config.multi_head_config as HeadConfig;
  const seq = rowsOf(c);
  const play = playOf(built, { ...feedsOf(c, 'x'), ...pattern.feeds }, (block, inputs, ctx) => {
    const { x, att_mask, input_mask } = inputs;
    const seen = masked(ctx, maskOf(att_mask, { batch: x!.dims[0] as number, heads, seq, kvSeq: seq }, c), pattern.mask(inputs));
    return hidden(block(given({ [inputName(block)]: x, input_mask }), seen));
  });
  return { ...play, draws: recordedDraws(c, 'block.stack.layers.0.mixer.attention', seq, seq) };
};

// Number of positions of the result, which a class token increases by one.
const rowsOf = (c: FixtureCase): number => c.out.get('y')?.dims[1] ?? tensorOf(c.in, 'x').dims[1]!;

/** One decoder block on a target and a memory. */
export const decoderBlock: Player = (c) => {
  const built = build('model', c.config, weightsOf(c), { ...recorded, inputMasks: c.in.has('input_mask') });
  const { num_heads: heads } = c.config.multi_head_config_masked as HeadConfig;
  const { num_heads: crossHeads } = c.config.multi_head_config_cross as HeadConfig;
  return playOf(built, feedsOf(c, 'target'), (block, inputs, ctx) => {
    const { target, memory, encoder_att_mask, decoder_att_mask, input_mask } = inputs;
    const [batch, seq] = [target!.dims[0] as number, rowsOf(c)];
    const kvSeq = memory!.dims[1] as number;
    const across = masked(ctx, maskOf(encoder_att_mask, { batch, heads: crossHeads, seq, kvSeq }, c));
    const self = masked(ctx, maskOf(decoder_att_mask, { batch, heads, seq, kvSeq: seq }, c));
    const seen = withContext(self, { memory: memoryOf(memory!, memory!, across) });
    return hidden(block(given({ [inputName(block)]: target, input_mask }), seen));
  });
};

/** A model of stacks on a source and, if it has a decoder, a target. */
export const model: Player = (c) => {
  const masks = ['encoder_input_mask', 'decoder_input_mask'];
  const inputMasks = masks.some((name) => c.in.has(name));
  const built = build('model', c.config, weightsOf(c), { ...recorded, inputMasks });
  const feeds = feedsOf(c, 'src', 'tgt');
  const { encoder, decoder } = built.block.children as { encoder?: AnyModule; decoder?: AnyModule };
  return playOf(built, feeds, (block, inputs, ctx) => {
    const { src, tgt = src, encoder_input_mask: input_mask, decoder_input_mask } = inputs;
    if (!encoder || !decoder) return hidden(block(given({ [inputName(block)]: src, input_mask }), ctx));
    return hidden(
      block(given({ [inputName(encoder)]: src, input_mask, [inputName(decoder, 'decoder_')]: tgt, decoder_input_mask }), ctx),
    );
  });
};
