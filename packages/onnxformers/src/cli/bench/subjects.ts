// What `bench attention` and `bench block` measure, and at which sizes.
import { type AnyModule, type CompileOptions, ConfigError, nearest, type Ort } from '@onnxformers/core';
import { type AttentionSizes, attentionFlops, benchAttention, benchForm } from '../../bench/attention';
import { attentionForms } from '../../bench/attention-forms';
import { type BlockSizes, benchBlock } from '../../bench/block';
import { blocksCalled, type ConfigSizes, exampleAt } from '../../bench/sizes';
import type { Measured, SlopeOptions } from '../../bench/slope';
import { zoo } from '../../index';
import { type Options, UsageError, type Values } from '../command';
import { readConfig } from '../config-file';
import { isThere } from '../files';
import { integersOf } from './integers';

const kinds = [...new Set(zoo.blocks.map((b) => b.kind))];

/** Sizes of one call. */
export const sizeOptions = {
  batch: { type: 'integer', doc: 'number of sequences; default: the number of lengths, or 1' },
  seq: { type: 'integer', doc: 'positions of each sequence', default: 512 },
  'kv-seq': { type: 'integer', doc: 'positions of keys and values, or of the memory; default: seq' },
  lengths: { type: 'list', doc: 'real positions of each sequence; the rest is padding', value: 'N,…' },
  heads: { type: 'integer', doc: 'query heads', default: 8 },
  'kv-heads': { type: 'integer', doc: 'key and value heads; default: heads' },
  'head-dim': { type: 'integer', doc: 'channels of a head', default: 64 },
  causal: { type: 'flag', doc: 'causal mask' },
  window: { type: 'integer', doc: 'sliding window: positions that a query attends to, itself included' },
  bias: { type: 'flag', doc: 'an attention bias for every score' },
} as const satisfies Options;

/** How often one copy is measured. */
export const slopeOptions = {
  few: { type: 'integer', doc: 'copies in the short graph', default: 2 },
  more: { type: 'integer', doc: 'how many more copies the long graph has', default: 16 },
  repeat: { type: 'integer', doc: 'number of runs of both graphs', default: 15 },
} as const satisfies Options;

/** Options of `bench attention`. */
export const attentionOptions = {
  mask: {
    type: 'list',
    doc: 'forms of masks, biases and functions of the scores, or all, instead of the options causal to softcap',
    value: 'NAME;…',
    separator: ';',
    choices: ['all', ...attentionForms.map(({ name }) => name)],
  },
  ...sizeOptions,
  softcap: { type: 'number', doc: 'scores as c · tanh(score / c)', value: 'C' },
  ...slopeOptions,
} as const satisfies Options;

/** Options of `bench block`. */
export const blockOptions = {
  all: { type: 'flag', doc: 'every registered block, one after another' },
  kind: { type: 'text', doc: 'only blocks of this kind', choices: kinds },
  ...sizeOptions,
  ...slopeOptions,
} as const satisfies Options;

/** The measurement of one subject on one target. */
export type Figure = Measured & { readonly tflops?: number };

/** One attention or block to measure. */
export interface Subject {
  readonly name: string;
  measure(o: Omit<CompileOptions, 'inputs' | 'weights'>, ort: Ort): Promise<Figure>;
}

/** Subjects, and the sizes that they have in common. */
export interface Subjects {
  readonly list: readonly Subject[];
  readonly setting: Readonly<Record<string, unknown>>;
}

/**
 * The subjects of `bench attention`: one call by its options, or forms by their names.
 *
 * @throws UsageError for sizes that do not fit
 */
export function attentionSubjects(v: Values<typeof attentionOptions>): Subjects {
  const sizes: AttentionSizes = { ...sizesOf(v), ...(v.softcap !== undefined && { softcap: positive('softcap', v.softcap) }) };
  const slope = slopeOf(v);
  if (!v.mask) {
    const measure: Subject['measure'] = (o, ort) => benchAttention(sizes, o, ort, slope);
    return { list: [{ name: 'attention', measure }], setting: { ...sizes, flops: attentionFlops(sizes) } };
  }
  const other = (['causal', 'window', 'lengths', 'bias', 'softcap', 'kv-seq'] as const).find((name) => v[name]);
  if (other) throw new UsageError(`--mask and --${other} cannot be given together: --mask says all of the mask and the bias`);
  const { batch, heads, kvHeads, headDim, seq } = sizes;
  const formSizes = { batch, heads, kvHeads, headDim, seq };
  const wanted = new Set(v.mask);
  const list = attentionForms
    .filter(({ name }) => wanted.has('all') || wanted.has(name))
    .map((form): Subject => ({ name: form.name, measure: (o, ort) => benchForm(form, formSizes, o, ort, slope) }));
  return { list, setting: formSizes };
}

/**
 * The subjects of `bench block CONFIG`, `bench block NAME` or `bench block --all`.
 *
 * @throws UsageError for sizes that do not fit · ConfigError and FileError for a config
 */
export async function blockSubjects(word: string | undefined, v: Values<typeof blockOptions>): Promise<Subjects> {
  const sizes = sizesOf(v);
  const list = await blocksOf(word, v, sizes);
  // A config has its own number of heads.
  const byConfig = word !== undefined && !blocksCalled(word, v.kind).length;
  const { heads: _, ...others } = blockSizes(sizes);
  return { list, setting: byConfig ? others : { ...sizes } };
}

async function blocksOf(
  word: string | undefined,
  v: Values<typeof blockOptions>,
  sizes: AttentionSizes,
): Promise<readonly Subject[]> {
  if (v.all !== (word === undefined))
    throw new UsageError(v.all ? `bench block takes "${word}" or --all, not both` : 'bench block requires CONFIG, NAME or --all');
  const slope = slopeOf(v);
  const byExample = (b: (typeof zoo.blocks)[number]): Subject =>
    subject(b.kind, b.blockName, () => exampleAt(b, configSizes(sizes)), sizes, slope);
  if (word === undefined) return zoo.blocks.filter((b) => v.kind === undefined || b.kind === v.kind).map(byExample);
  const called = blocksCalled(word, v.kind);
  if (called.length) return called.map(byExample);
  if (!(await isThere(word))) throw unknownBlock(word, v.kind);
  const { module, kind } = await readConfig(word);
  return [subject(kind, module.blockName ?? word, () => module, sizes, slope)];
}

/** A block whose module is built when it is measured, so that an error does not end a sweep. */
function subject(kind: string, block: string, make: () => AnyModule, sizes: AttentionSizes, slope: SlopeOptions): Subject {
  return {
    name: `${kind} ${block}`,
    measure: async (o, ort) =>
      kind === 'attention' ? benchAttention(sizes, o, ort, slope, make()) : benchBlock(make(), blockSizes(sizes), o, ort, slope),
  };
}

function unknownBlock(word: string, kind: string | undefined): ConfigError {
  const names = [...new Set(zoo.blocks.filter((b) => kind === undefined || b.kind === kind).map((b) => b.blockName))];
  const near = nearest(word, names);
  return new ConfigError({
    path: word,
    problem: `neither a file nor the name of a registered ${kind ?? ''}${kind ? ' ' : ''}block`,
    hint: `${near ? `Did you mean "${near}"? ` : ''}Blocks: ${names.join(', ')}`,
  });
}

function slopeOf({ few, more, repeat }: Values<typeof slopeOptions>): SlopeOptions {
  if (few < 1 || more < 1 || repeat < 1) throw new UsageError('--few, --more and --repeat must be at least 1');
  return { few, more, repetitions: repeat };
}

function positive(name: string, n: number): number {
  if (n <= 0) throw new UsageError(`${name} is ${n}; expected more than 0`);
  return n;
}

function sizesOf(v: Values<typeof sizeOptions>): AttentionSizes {
  const lengths = v.lengths && integersOf('lengths', v.lengths);
  const kvSeq = v['kv-seq'];
  const sizes: AttentionSizes = {
    batch: v.batch ?? lengths?.length ?? 1,
    heads: v.heads,
    kvHeads: v['kv-heads'] ?? v.heads,
    headDim: v['head-dim'],
    seq: v.seq,
    ...(kvSeq !== undefined && { kvSeq }),
    causal: v.causal,
    ...(v.window !== undefined && { window: v.window }),
    ...(lengths && { lengths }),
    ...(v.bias && { bias: true }),
  };
  for (const [name, n] of Object.entries(sizes)) if (typeof n === 'number') positive(name, n);
  if (lengths && lengths.length !== sizes.batch)
    throw new UsageError(`--lengths has ${lengths.length} numbers for a batch of ${sizes.batch}`);
  const longest = kvSeq ?? sizes.seq;
  const beyond = lengths?.find((n) => n > longest);
  if (beyond !== undefined) throw new UsageError(`--lengths contains ${beyond}, but a sequence has ${longest} positions`);
  if (sizes.heads % sizes.kvHeads) throw new UsageError(`--kv-heads ${sizes.kvHeads} does not divide --heads ${sizes.heads}`);
  return sizes;
}

const configSizes = ({ heads, kvHeads, headDim, seq, kvSeq = seq, window }: AttentionSizes): ConfigSizes => ({
  heads,
  kvHeads,
  headDim,
  seq,
  kvSeq,
  ...(window !== undefined && { window }),
});

const blockSizes = ({ batch, seq, kvSeq, heads, causal, lengths, bias }: AttentionSizes): BlockSizes => ({
  batch,
  seq,
  heads,
  causal,
  ...(kvSeq !== undefined && { kvSeq }),
  ...(lengths && { lengths }),
  ...(bias && { bias }),
});
