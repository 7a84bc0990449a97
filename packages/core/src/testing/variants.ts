// The variants of an example: alone, and under each mask that it supports.
import { grad } from '../autodiff/grad';
import { checkAllRead } from '../compile/unread';
import { ConfigError, ShapeError } from '../error';
import type { Value } from '../ir/graph';
import { and, causal } from '../mask/index';
import { type BlockInputs, kindOf } from '../module/kinds';
import { type AnyModule, module, namesOf } from '../module/module';
import { standalone } from '../module/standalone';
import { add, mul } from '../ops/elementwise';
import { reduceSum } from '../ops/reduce';
import { type SequenceContext, withContext } from '../sequence/context';
import { isFloat, type NDArray } from '../tensor/tensor';
import { type Example, type Feeds, type Sizes, sizesOf } from './example';
import { traceBlock } from './run-block';

/** An example under one mask, as a model. */
export interface Variant {
  /** `lengths`; empty for the example alone. */
  readonly name: string;
  readonly module: AnyModule;
  readonly inputs: BlockInputs;
  readonly layout: 'padded' | 'packed';
  readonly sizes: Sizes;
  /** Whether its outputs are gradients. */
  readonly gradients?: true;
  /** Data of the mask's inputs, where random data would be invalid. */
  readonly feeds: Feeds;
}

interface Masking {
  readonly name: string;
  readonly inputs: BlockInputs;
  readonly feeds?: (sizes: Sizes) => Feeds;
  readonly causal?: boolean;
  /** Only for blocks that mask each pair of query and key. */
  readonly ofPairs?: boolean;
  /** Only for what attends to a memory. */
  readonly ofMemory?: boolean;
}

const int64 = (numbers: readonly number[]): NDArray => ({
  dtype: 'int64',
  dims: [numbers.length],
  data: Float64Array.from(numbers),
});
const lengths = ({ batch, seq }: Sizes): Feeds => ({
  lengths: int64(Array.from({ length: batch! }, (_, i) => Math.max(0, seq! - 4 * i))),
});

const memoryLengths = ({ batch, memory_seq }: Sizes): Feeds => ({
  memory_lengths: int64(Array.from({ length: batch! }, (_, i) => Math.max(0, memory_seq! - 2 * i))),
});

const perSequence = { dtype: 'int64', dims: ['batch'] } as const;
const maskings: readonly Masking[] = [
  { name: '', inputs: {} },
  { name: 'lengths', inputs: { lengths: perSequence }, feeds: lengths },
  { name: 'memory lengths', inputs: { memory_lengths: perSequence }, feeds: memoryLengths, ofMemory: true },
  { name: 'causal', inputs: {}, causal: true },
  { name: 'attention bias', inputs: { attention_bias: { dtype: 'float32', dims: ['batch', 1, 'seq', 'seq'] } }, ofPairs: true },
  { name: 'padding mask', inputs: { attention_mask: { dtype: 'bool', dims: ['batch', 'seq'] } }, ofPairs: true },
];
/** The variants of an example that it does not refuse, with at most so many positions in a sequence, or in all packed ones. */
export const variantsOf = (example: Example, maxPositions: number = Number.POSITIVE_INFINITY): readonly Variant[] =>
  triedVariants(example, maxPositions).variants;

/** All variants of an example: those that it supports, and for each that it refuses its name and the error: `causal: ConfigError at …`. */
export function triedVariants(
  example: Example,
  maxPositions: number = Number.POSITIVE_INFINITY,
): { readonly variants: readonly Variant[]; readonly refused: readonly string[] } {
  const masks = masksOf(example);
  const sizes = sizesOf(example, Math.min(29, maxPositions));
  const takesMasks = masks !== 'none' && 'seq' in sizes;
  const padded = maskings
    .filter(({ name, ofPairs }) => !name || (takesMasks && (!ofPairs || masks === 'pairs')))
    .filter(({ ofMemory }) => !ofMemory || 'memory_seq' in sizes)
    .map(
      ({ name, inputs, feeds, causal: isCausal }): Variant => ({
        name,
        module: isCausal ? causally(example.module) : standalone(example.module),
        inputs: { ...wideHeads(example), ...inputs },
        layout: 'padded',
        sizes,
        feeds: feeds?.(sizes) ?? {},
      }),
    );
  const variants: Variant[] = [];
  const refused: string[] = [];
  for (const variant of [...padded, ...packed(example, sizes, maxPositions)]) {
    const refusal = variant.name ? refusalOf(variant) : undefined;
    if (refusal) refused.push(`${variant.name}: ${refusal.name} at ${refusal.path}`);
    else variants.push(variant);
  }
  return { variants, refused };
}

const sumOfSquares = (results: readonly Value[]): Value =>
  results.map((y) => reduceSum(mul(y, y), [...y.dims.keys()], { keepDims: false })).reduce((a, b) => add(a, b));

/** A module that also returns Σ y², which is a number also if there is no y: the runtime has to run it. */
export function summed(m: AnyModule): AnyModule {
  const { children, forward, about } = standalone(m);
  const both = (inputs: Readonly<Record<string, Value>>, ctx: SequenceContext) => {
    const results = forward(inputs, ctx) as Record<string, Value>;
    return { ...results, sum: sumOfSquares(Object.values(results)) };
  };
  return module(children, both, about);
}

/** The gradients of Σ y² for each parameter and each float input, as a model. */
export function gradientsOf(example: Example): Variant {
  const m = standalone(example.module);
  const forward = (inputs: Readonly<Record<string, Value>>, ctx: SequenceContext) => {
    const results = Object.values(m.forward(inputs, ctx) as Record<string, Value>);
    const loss = sumOfSquares(results);
    const parameters = [...namesOf(m).parameters].filter(([, { options }]) => options.trainable !== false);
    const floats = Object.entries(inputs).filter(([, v]) => isFloat(v.dtype));
    const values = [...parameters, ...floats];
    const gradients = grad(
      loss,
      values.map(([, v]) => v),
    );
    return { loss, ...Object.fromEntries(values.map(([name], i) => [`gradient.${name}`, gradients[i]!])) };
  };
  const sizes = sizesOf(example, 29);
  return {
    name: 'gradients',
    module: module(m.children, forward, m.about),
    inputs: wideHeads(example),
    layout: 'padded',
    sizes,
    gradients: true,
    feeds: {},
  };
}

const masksOf = ({ module: m }: Example) => kindOf(m)?.masks ?? 'none';

// A packed batch, for inputs that are sequences.
function packed(e: Example, { seq }: Sizes, maxPositions: number): readonly Variant[] {
  const longest = Math.min(seq!, Math.floor(((maxPositions - 1) * 2) / 3));
  const tokens: Readonly<Record<string, readonly number[]>> = {
    seq: [longest, 1, Math.ceil(longest / 2)],
    memory_seq: [5, 2, 7],
    decoder_seq: [3, 7, 2],
  };
  const rows = Object.entries(e.inputs).map(([name, { dims, ...input }]) => {
    const [batch, of, ...others] = dims;
    const isRows = batch === 'batch' && typeof of === 'string' && of in tokens && others.length < 2;
    return isRows ? { name, of, input: { ...input, dims: [`${of}_tokens`, ...others] } } : undefined;
  });
  if (masksOf(e) === 'none' || rows.some((row) => !row)) return [];
  const kinds = [...new Set(rows.map((row) => row!.of))];
  const named = (of: string): string => of.replace('seq', 'lengths');
  const sum = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0);
  return [
    {
      name: 'packed',
      module: standalone(e.module),
      inputs: {
        ...Object.fromEntries(rows.map((row) => [row!.name, row!.input])),
        ...Object.fromEntries(kinds.map((of) => [named(of), { dtype: 'int64', dims: ['batch'] } as const])),
      },
      layout: 'packed',
      sizes: { batch: 3, ...Object.fromEntries(kinds.map((of) => [`${of}_tokens`, sum(tokens[of]!)])) },
      feeds: Object.fromEntries(kinds.map((of) => [named(of), int64(tokens[of]!)])),
    },
  ];
}

// Kernels require a multiple of eight channels.
export const wideHeads = (e: Example): BlockInputs =>
  e.block.kind === 'attention'
    ? Object.fromEntries(Object.entries(e.inputs).map(([name, input]) => [name, { ...input, dims: input.dims.with(-1, 8) }]))
    : e.inputs;

/** A module under a causal mask, as a decoder would set it. */
export function causally(m: AnyModule): AnyModule {
  const { children, forward, about } = standalone(m);
  const narrowed = (inputs: Readonly<Record<string, Value>>, ctx: SequenceContext) =>
    forward(inputs, withContext(ctx, { mask: and(ctx.mask, causal) }));
  return module(children, narrowed, about);
}

function refusalOf({ module: m, inputs, layout }: Variant): ConfigError | ShapeError | undefined {
  try {
    checkAllRead(traceBlock(m, typesOf(inputs), { layout }), Object.keys(inputs));
    return undefined;
  } catch (error) {
    if (error instanceof ConfigError || error instanceof ShapeError) return error;
    throw error;
  }
}

/** Inputs in the form of `compile`'s option. */
export function typesOf(inputs: BlockInputs) {
  return Object.fromEntries(Object.entries(inputs).map(([name, { dtype, dims }]) => [name, [dtype, dims] as const]));
}
