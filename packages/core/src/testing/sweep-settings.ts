// What may stand around a block in a sweep: inputs, sizes, a dtype, a state.
import type { CompileOptions } from '../compile/compile-options';
import type { BlockInputs } from '../module/kinds';
import type { NDArray } from '../tensor/tensor';
import type { Example, Feeds, Sizes } from './example';

/** One way of compiling and running a block. */
export interface Setting {
  readonly name: string;
  /** What a refusal of it may speak of. */
  readonly refusedAs: RegExp;
  /** The inputs, from those of the block; undefined where it means nothing for the block. */
  readonly inputs?: (inputs: BlockInputs, example: Pick<Example, 'longest'>) => BlockInputs | undefined;
  /** Data for inputs that mean something. */
  readonly feeds?: (sizes: Sizes) => Feeds;
  readonly sizes?: (sizes: Sizes, longest: number) => Sizes;
  readonly options?: Partial<CompileOptions>;
  /** Whether the block is put under a causal mask. */
  readonly causal?: true;
}

const array = (dtype: NDArray['dtype'], dims: readonly number[], at: (i: number) => number): NDArray => ({
  dtype,
  dims,
  data: Float64Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => at(i)),
});
const withMore =
  (more: BlockInputs) =>
  (inputs: BlockInputs): BlockInputs => ({ ...inputs, ...more });
const withMemory = (more: BlockInputs) => (inputs: BlockInputs) => (inputs.memory ? { ...inputs, ...more } : undefined);

const lengths: BlockInputs = { lengths: { dtype: 'int64', dims: ['batch'] } };
const memoryLengths: BlockInputs = { memory_lengths: { dtype: 'int64', dims: ['batch'] } };
const memoryMask: BlockInputs = { memory_mask: { dtype: 'bool', dims: ['batch', 'memory_seq'] } };
const cached: Partial<CompileOptions> = { state: 'io', assumptions: ['prefill into empty cache'] };
const mask = 'attention_mask';

/** Rows that are sequences one after another, as a packed batch has them; undefined where an input is none of these. */
function packedInputs(inputs: BlockInputs): BlockInputs | undefined {
  const rows = Object.entries(inputs).map(([name, { dims, ...input }]) => {
    const [batch, of, ...others] = dims;
    const isRows = batch === 'batch' && (of === 'seq' || of === 'memory_seq') && others.length < 2;
    return isRows ? ([name, { ...input, dims: [`${of}_tokens`, ...others] }] as const) : undefined;
  });
  if (!rows.length || rows.some((row) => !row)) return undefined;
  const all: BlockInputs = Object.fromEntries(rows as readonly (readonly [string, BlockInputs[string]])[]);
  return { ...all, ...lengths, ...(all.memory && memoryLengths) };
}
const shares = (total: number): readonly number[] =>
  [Math.ceil(total / 2), total - Math.ceil(total / 2) - 1, 1].filter((n) => n > 0);

/** The settings of a sweep; the first is the block by itself. */
export const settings: readonly Setting[] = [
  { name: 'alone', refusedAs: /$^/ },
  { name: 'a batch and a sequence of 1', refusedAs: /$^/, sizes: (sizes) => ({ ...sizes, batch: 1, seq: 1 }) },
  { name: 'no rows', refusedAs: /size|rows|keys|sequence|empty|\b0\b/i, sizes: (sizes) => ({ ...sizes, seq: 0 }) },
  {
    name: 'known sizes',
    refusedAs: /$^/,
    inputs: (inputs) =>
      Object.fromEntries(
        Object.entries(inputs).map(([name, input]) => [
          name,
          { ...input, dims: input.dims.map((d) => (d === 'batch' ? 2 : d === 'seq' ? 3 : d)) },
        ]),
      ),
    sizes: (sizes) => ({ ...sizes, batch: 2, seq: 3 }),
  },
  {
    name: 'longer than seqLen',
    refusedAs: /seqLen|longer/,
    inputs: (inputs, { longest }) => (longest < 64 ? inputs : undefined),
    sizes: (sizes, longest) => ({ ...sizes, seq: longest + 1 }),
  },
  {
    name: 'lengths',
    refusedAs: /lengths|mask/,
    inputs: withMore(lengths),
    feeds: ({ batch, seq }) => ({ lengths: array('int64', [batch!], (i) => Math.max(1, seq! - 2 * i)) }),
  },
  {
    name: 'padding on the left',
    refusedAs: /attention_mask|mask|padding/,
    inputs: withMore({ [mask]: { dtype: 'int64', dims: ['batch', 'seq'] } }),
    feeds: ({ batch, seq }) => ({ [mask]: array('int64', [batch!, seq!], (i) => Number(i % seq! >= Math.floor(i / seq!))) }),
  },
  {
    name: 'a dense mask',
    refusedAs: /attention_mask|mask/,
    inputs: withMore({ [mask]: { dtype: 'bool', dims: [1, 1, 'seq', 'seq'] } }),
    feeds: ({ seq }) => ({ [mask]: array('bool', [1, 1, seq!, seq!], (i) => Number((i % seq!) % 2 === 0)) }),
  },
  {
    name: 'an attention bias',
    refusedAs: /bias|mask/,
    inputs: withMore({ attention_bias: { dtype: 'float32', dims: ['batch', 1, 'seq', 'seq'] } }),
  },
  { name: 'a causal mask', refusedAs: /causal/, causal: true },
  {
    name: 'positions',
    refusedAs: /position/,
    inputs: withMore({ position_ids: { dtype: 'int64', dims: ['batch', 'seq'] } }),
    feeds: ({ batch, seq }) => ({ position_ids: array('int64', [batch!, seq!], (i) => (2 * i) % seq!) }),
  },
  {
    name: 'token types',
    refusedAs: /token_type|typeVocab/,
    inputs: withMore({ token_type_ids: { dtype: 'int64', dims: ['batch', 'seq'] } }),
    feeds: ({ batch, seq }) => ({ token_type_ids: array('int64', [batch!, seq!], () => 0) }),
  },
  {
    name: 'a packed batch',
    refusedAs: /pack|layout|lengths|mask/,
    inputs: packedInputs,
    feeds: ({ seq_tokens: tokens = 0, memory_seq_tokens: others = 0 }) => {
      const own = shares(tokens);
      const theirs = shares(others);
      return {
        lengths: array('int64', [own.length], (i) => own[i]!),
        ...(others && { memory_lengths: array('int64', [own.length], (i) => theirs[i]!) }),
      };
    },
    sizes: ({ seq_tokens: tokens = 0, ...sizes }) => ({ ...sizes, seq_tokens: tokens, batch: shares(tokens).length }),
    options: { layout: 'packed' },
  },
  {
    name: 'lengths of a memory',
    refusedAs: /memory|mask|lengths/,
    inputs: withMemory(memoryLengths),
    feeds: ({ batch, memory_seq: n }) => ({ memory_lengths: array('int64', [batch!], (i) => n! - (i % n!)) }),
  },
  {
    name: 'padding of a memory',
    refusedAs: /memory|mask/,
    inputs: withMemory(memoryMask),
    feeds: ({ batch, memory_seq: n }) => ({ memory_mask: array('bool', [batch!, n!], (i) => Number(i % n! > 0)) }),
  },
  { name: "state 'io'", refusedAs: /state|cache|past|sequence/, options: cached },
  {
    name: "state 'io' with padding of a memory",
    refusedAs: /state|cache|past|sequence|memory_mask/,
    inputs: withMemory(memoryMask),
    feeds: ({ batch, memory_seq: n }) => ({ memory_mask: array('bool', [batch!, n!], (i) => Number(i % n! > 0)) }),
    options: cached,
  },
  { name: 'state of fixed capacity', refusedAs: /state|cache|past|sequence|capacity/, options: { ...cached, state: { io: 31 } } },
  {
    name: 'a paged state',
    refusedAs: /state|cache|past|sequence|[Pp]aged|pool/,
    options: { ...cached, state: { paged: { blocks: 12, blockSize: 16 } } },
  },
  { name: 'float16', refusedAs: /float16/, options: { dtype: 'float16' } },
  { name: 'bfloat16', refusedAs: /bfloat16/, options: { dtype: 'bfloat16' } },
  { name: 'training', refusedAs: /training|dropout/, options: { training: true } },
];
