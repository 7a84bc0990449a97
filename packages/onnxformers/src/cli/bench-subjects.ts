// The subjects of the command `bench`.
import { type AnyModule, type CompileOptions, ConfigError, nearest, type Ort } from '@onnxformers/core';
import { type AttentionSizes, attentionFlops, benchAttention } from '../bench/attention';
import { type BlockSizes, benchBlock } from '../bench/block';
import { blocksCalled, type ConfigSizes, exampleAt } from '../bench/sizes';
import type { Measured, SlopeOptions } from '../bench/slope';
import { zoo } from '../index';
import { type Options, UsageError, type Values } from './command';
import { readConfig } from './config-file';
import { isThere } from './files';

const kinds = [...new Set(zoo.blocks.map((b) => b.kind))];

/** Options that select what is measured, and at which sizes. */
export const subjectOptions = {
  all: { type: 'flag', doc: 'block: every registered block, one after another' },
  kind: { type: 'text', doc: 'block: only those of this kind', choices: kinds },
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
  softcap: { type: 'number', doc: 'attention: scores as c · tanh(score / c)', value: 'C' },
  few: { type: 'integer', doc: 'copies in the short graph', default: 2 },
  more: { type: 'integer', doc: 'how many more copies the long graph has', default: 16 },
  repeat: { type: 'integer', doc: 'number of runs of both graphs', default: 15 },
} as const satisfies Options;
type Given = Values<typeof subjectOptions>;

/** The measurement of one subject on one target. */
export type Figure = Measured & { readonly tflops?: number };

/** One attention or block to measure. */
export interface Subject {
  readonly kind: string;
  readonly block: string;
  measure(o: Omit<CompileOptions, 'inputs' | 'weights'>, ort: Ort): Promise<Figure>;
}

/** Subjects, and their common properties. */
export interface Subjects {
  readonly list: readonly Subject[];
  readonly about: Readonly<Record<string, unknown>>;
}

/**
 * The subjects of `bench attention`, `bench block CONFIG`, `bench block NAME` or `bench block --all`.
 *
 * Throws   UsageError · ConfigError and FileError for a config
 */
export async function subjectsOf(what: string, word: string | undefined, v: Given): Promise<Subjects> {
  const sizes = sizesOf(v);
  const slope = slopeOf(v);
  if (what === 'attention') {
    if (word !== undefined)
      throw new UsageError(`bench attention takes no argument; got "${word}". Its options choose what is measured`);
    if (v.all || v.kind) throw new UsageError('--all and --kind are options of bench block, not of bench attention');
    const measure: Subject['measure'] = (o, ort) => benchAttention(sizes, o, ort, slope);
    return {
      list: [{ kind: 'attention', block: 'scaled_dot_product', measure }],
      about: { ...sizes, flops: attentionFlops(sizes) },
    };
  }
  if (what !== 'block') throw new UsageError(`bench measures attention or block, not "${what}"`);
  if (v.softcap !== undefined)
    throw new UsageError('--softcap is an option of bench attention; set softcap in the config of the block instead');
  const list = await blocksOf(word, v, sizes, slope);
  // A config has its own number of heads.
  const byConfig = word !== undefined && !blocksCalled(word, v.kind).length;
  const { heads: _, ...others } = blockSizes(sizes);
  return { list, about: byConfig ? others : { ...sizes } };
}

async function blocksOf(word: string | undefined, v: Given, sizes: AttentionSizes, slope: SlopeOptions): Promise<Subject[]> {
  if (v.all !== (word === undefined))
    throw new UsageError(v.all ? `bench block takes "${word}" or --all, not both` : 'bench block requires CONFIG, NAME or --all');
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
    kind,
    block,
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

function slopeOf({ few, more, repeat }: Given): SlopeOptions {
  if (few < 1 || more < 1 || repeat < 1) throw new UsageError('--few, --more and --repeat must be at least 1');
  return { few, more, repetitions: repeat };
}

function sizesOf(v: Given): AttentionSizes {
  const lengths = v.lengths?.map((text) => {
    if (!/^\d+$/.test(text)) throw new UsageError(`--lengths must be a list of integers, got "${text}"`);
    return Number(text);
  });
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
    ...(v.softcap !== undefined && { softcap: v.softcap }),
  };
  const zero = Object.entries(sizes).find(([, n]) => typeof n === 'number' && n <= 0);
  if (zero) throw new UsageError(`${zero[0]} is ${zero[1]}; expected more than 0`);
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
