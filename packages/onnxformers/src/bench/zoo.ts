// What `bench zoo` measures: every mechanism at one length, beside exact attention of the same sizes.
import {
  type AnyModule,
  type CompileOptions,
  compile,
  createRunner,
  footprint,
  initialize,
  type Model,
  type Ort,
  tensor,
} from '@onnxformers/core';
import { zoo } from '../index';
import { bigBird } from '../patterns/big-bird';
import { attentionChain } from './attention';
import { blockChain } from './block';
import { cellsOf, exampleAt } from './sizes';
import { chainSession, type SlopeOptions, slope } from './slope';
import { spent, type Times, timesOf } from './times';

/** Sizes of one call; the batch is one sequence. */
export interface ZooSizes {
  readonly heads: number;
  readonly headDim: number;
  readonly seq: number;
  /** Keys of a window; if it is centred on the query, one more where that makes it odd. */
  readonly window: number;
}

/** One mechanism in one setting. */
export interface ZooSubject {
  /** `local, causal` */
  readonly name: string;
  /** The subject whose time its own is compared with; undefined for the exact ones. */
  readonly reference?: string;
  module(sizes: ZooSizes): AnyModule;
  chain(module: AnyModule, sizes: ZooSizes, copies: number): AnyModule;
}

/** The name of exact attention. */
export const exact = 'exact';
const exactCausal = 'exact, causal';

type AnyBlock = (typeof zoo.blocks)[number];
type Setting = readonly [suffix: string, config: (s: ZooSizes) => Readonly<Record<string, unknown>>, reference?: string];

const keysOfLinformer = 256;
const landmarks = 64;
const blockSize = 64;
const density = 0.1;

/** The settings of blocks that have a size of their own; another block is measured at its first example, with these sizes in it. */
const settings: Readonly<Record<string, readonly Setting[]>> = {
  local: [
    ['', ({ window }) => ({ window: window | 1 })],
    ['causal', ({ window }) => ({ window, causal: true }), exactCausal],
  ],
  differential: [['', ({ headDim }) => ({ headDim })]],
  neighborhood: [['', ({ seq }) => ({ kernel: 7, grid: cellsOf(seq) })]],
  linformer: [['', ({ seq }) => ({ seqLen: seq, k: Math.min(keysOfLinformer, seq) })]],
  nystrom: [['', () => ({ landmarks })]],
  orthoformer: [['', () => ({ landmarks })]],
  favor: [['', ({ headDim }) => ({ headDim })]],
  lambda: [['', ({ seq, headDim }) => ({ seqLen: seq, headDim })]],
  blocksparse: [
    ['10 % of the blocks', ({ seq }) => ({ blockSize, layout: [evenLayout(Math.ceil(seq / blockSize))] })],
    ['big bird', ({ seq }) => bigBirdAt(Math.ceil(seq / blockSize))],
  ],
  global: [['', () => ({ tokens: Array.from({ length: 16 }, (_, i) => i) })]],
  random: [['1 % of the keys', () => ({ density: 0.01 })]],
  sparse: [['distances 2^n', ({ seq }) => ({ keys: [Array.from({ length: seq }, (_, i) => atPowers(i))] })]],
  pooling: [['', ({ heads, headDim, seq }) => ({ dim: heads * headDim, grid: cellsOf(seq) })]],
  visual: [['', ({ heads, headDim, seq }) => ({ dim: heads * headDim, grid: cellsOf(seq) })]],
};

/** The position itself, and those before it at distances of 1, 2, 4, … */
const atPowers = (i: number): readonly number[] => [i, ...Array.from({ length: 32 }, (_, n) => i - 2 ** n).filter((j) => j >= 0)];

const bigBirdAt = (blocks: number) =>
  bigBird({
    seqLen: blocks * blockSize,
    heads: 1,
    blockSize,
    windowBlocks: Math.min(3, blocks),
    randomBlocks: Math.min(3, blocks),
  });

/** A layout in which each row of blocks has its own and others at even distances: so many in all that the density is reached. */
function evenLayout(blocks: number): readonly (readonly number[])[] {
  const each = Math.max(1, Math.round(density * blocks));
  return Array.from({ length: blocks }, (_, row) => {
    const flags = new Array<number>(blocks).fill(0);
    for (let i = 0; i < each; i++) flags[(row + Math.round((i * blocks) / each)) % blocks] = 1;
    return flags;
  });
}

const ofAttention = (name: string, module: ZooSubject['module'], reference?: string): ZooSubject => ({
  name,
  ...(reference !== undefined && { reference }),
  module,
  chain: (m, { heads, headDim, seq }, copies) =>
    attentionChain({ batch: 1, heads, kvHeads: heads, headDim, seq, causal: false }, copies, m),
});

const softmax = (causal: boolean) => () =>
  zoo.parse('attention', { name: 'scaled_dot_product', causal } as never) as unknown as AnyModule;

/** A block whose slot has an attention is that attention and its projections: what fills the slot is measured instead. */
const hasSlotFor = ({ fields }: AnyBlock, kind: string): boolean =>
  Object.values(fields as Readonly<Record<string, { readonly kind?: string }>>).some((field) => field.kind === kind);

/** Every mechanism of the registry: exact attention first, then attentions and mixers in the order of the registry. */
export function zooSubjects(): readonly ZooSubject[] {
  const mechanisms = zoo.blocks.filter(
    (block) => (block.kind === 'attention' || block.kind === 'mixer') && !hasSlotFor(block, 'attention'),
  );
  const others = mechanisms
    .filter(({ blockName }) => blockName !== 'scaled_dot_product')
    .flatMap((block) => (settings[block.blockName] ?? [undefined]).map((setting) => subjectOf(block, setting)));
  return [ofAttention(exact, softmax(false)), ofAttention(exactCausal, softmax(true)), ...others];
}

function subjectOf(block: AnyBlock, setting: Setting | undefined): ZooSubject {
  const [suffix = '', config, reference = exact] = setting ?? [];
  const name = [block.blockName, suffix].filter(Boolean).join(', ');
  const module: ZooSubject['module'] = (s) => {
    const { heads, headDim, seq } = s;
    if (!config) return exampleAt(block, { heads, kvHeads: heads, headDim, seq, kvSeq: seq });
    const filled = { ...(block.kind === 'mixer' && { dim: heads * headDim }), name: block.blockName, ...config(s) };
    return zoo.parse(block.kind, filled as never) as unknown as AnyModule;
  };
  if (block.kind === 'attention') return ofAttention(name, module, reference);
  return {
    name,
    reference,
    module,
    chain: (m, { heads, seq }, copies) => blockChain(m, { batch: 1, seq, heads }, copies),
  };
}

/** The figures of one subject at one length. */
export interface ZooFigure extends Times {
  readonly model: Model;
  /** Processor time of one call in milliseconds, of all cores together. */
  readonly processor: number;
  /** Floating-point operations of one call, as it was lowered. */
  readonly flops: number;
  /** Bytes of the largest intermediate result. */
  readonly largest: number;
  /** Bytes that the process took at most, from its start to the end of its first call; undefined where that was not measured. */
  readonly peak?: number;
}

/** Limits of one measurement, and how it is made. */
export interface ZooOptions {
  /** Bytes of the largest intermediate result. */
  readonly memory: number;
  /** Milliseconds in which calls are repeated. */
  readonly time: number;
  readonly session?: SlopeOptions['session'];
  /** Bytes that are taken now, if they are known; called after the first call. */
  readonly peak?: () => number | undefined;
}

/** A subject that is not measured, and why. */
export interface ZooStopped {
  readonly stopped: string;
}

const shift = tensor('float32', [1], [0.25]);
/** A call that takes longer is measured as a whole run with its data: making them takes a small part of it. */
const longCall = 1500;

/**
 * Measures one call of a subject at one length. The first call, in a graph of its own, says how often to repeat it; a call of more than 1.5 s is timed as a whole run.
 *
 * Throws   RunError when the runtime cannot load or run the graphs
 */
export async function measureZoo(
  subject: ZooSubject,
  sizes: ZooSizes,
  o: Omit<CompileOptions, 'inputs' | 'weights'>,
  ort: Ort,
  { memory, time, session = {}, peak }: ZooOptions,
): Promise<ZooFigure | ZooStopped> {
  const module = subject.module(sizes);
  const chain = (copies: number): AnyModule => subject.chain(module, sizes, copies);
  const weights = initialize(chain(1), { seed: 1 });
  const options = { ...o, weights };
  const model = compile(chain(1), { ...options, inputs: { shift: ['float32', [1]] } });
  const { machine } = o;
  const { largestBytes, flops } = footprint(model.graph, {}, { target: model.target, ...(machine && { machine }) });
  if (largestBytes > memory)
    return { stopped: `its largest intermediate result has ${gib(largestBytes)} GiB, at most ${gib(memory)} are allowed` };
  const run = await createRunner(model, ort, { session: chainSession(session) });
  const once = () => spent(() => run({ shift }));
  try {
    // A GPU chooses kernels and takes memory in its first run.
    await once();
    const taken = peak?.();
    const first = await once();
    const about = { model, flops, largest: largestBytes, ...(taken !== undefined && { peak: taken }) };
    if (first.passed > longCall) {
      const runs = [first, ...(first.passed < time ? [await once(), await once()] : [])];
      const { median: processor } = timesOf(runs.map((one) => one.processor));
      return { ...timesOf(runs.map(({ passed }) => passed)), processor, ...about };
    }
    const more = Math.min(16, Math.max(1, Math.round(250 / first.passed)));
    const repetitions = Math.min(11, Math.max(3, Math.floor(time / ((more + 2) * first.passed))));
    const { device: _, ...found } = await slope(chain, options, ort, { few: 1, more, repetitions, warmups: 1, session });
    return { ...found, ...about, model: found.model };
  } finally {
    await run.dispose();
  }
}

const gib = (bytes: number): string => String(Number((bytes / 2 ** 30).toPrecision(2)));
