// Examples of blocks, ready to run: the module, the inputs of its kind, and data for them.
import type { AnyBlock, Property } from '../block/block-definition';
import type { Registry } from '../block/registry';
import { type Dim, evaluateDim } from '../dim/dim';
import { interpret } from '../interpret/interpret';
import { type Graph, isPastRole, type Leaf, nameOf } from '../ir/graph';
import { type BlockInput, type BlockInputs, blockInputs, type UnsetSize, unsetSizes } from '../module/kinds';
import type { AnyModule } from '../module/module';
import { computeDerived } from '../sequence/derive';
import { countOf, isFloat, type NDArray } from '../tensor/tensor';
import { randomNumbers } from './random';
import { randomArray, randomParameters, type TraceOptions, traceBlock } from './run-block';

/** A block at one of its configs. */
export interface Example {
  readonly block: AnyBlock;
  /** Index among the block's examples. */
  readonly index: number;
  /** The config as given. */
  readonly given: Readonly<Record<string, unknown>>;
  readonly module: AnyModule;
  /** The resolved config; slots contain configs, or modules that have no config (because of a function). */
  readonly config: Readonly<Record<string, unknown>>;
  readonly inputs: BlockInputs;
  /** The longest sequence that every part of it supports. */
  readonly longest: number;
  readonly properties: ReadonlySet<Property>;
  /** The same with other options. */
  readonly changed: (options: Readonly<Record<string, unknown>>) => Example;
}

/** Builds an example of a block. */
export const exampleOf = (block: AnyBlock, index: number, registry: Pick<Registry, 'parse'>): Example =>
  exampleFrom(block, { name: block.blockName, ...block.definition.examples[index] }, registry, index);

/** Builds a block from any config, as an example. */
export function exampleFrom(
  block: AnyBlock,
  given: Readonly<Record<string, unknown>>,
  registry: Pick<Registry, 'parse'>,
  index = 0,
): Example {
  const module = registry.parse(block.kind, given) as unknown as AnyModule;
  const config = (module.about.config ?? {}) as Readonly<Record<string, unknown>>;
  const plain = plainly(config);
  const { properties = [] } = block.definition;
  return {
    block,
    index,
    given,
    module,
    config: plain,
    inputs: inputsOf(module),
    longest: Math.min(...valuesNamed(plain, 'seqLen'), Number.POSITIVE_INFINITY),
    properties: new Set(typeof properties === 'function' ? properties(config as never) : properties),
    changed: (options) => exampleFrom(block, { ...given, ...options }, registry, index),
  };
}

type Config = Readonly<Record<string, unknown>>;

// A part that contains a function has no config of its own.
function plainly(config: Config): Config {
  const read = (key: string): unknown => {
    try {
      return config[key];
    } catch {
      return undefined;
    }
  };
  return Object.fromEntries(Object.keys(config).map((key) => [key, read(key)]));
}

// ---- Inputs ---------------------------------------------------------------------------------------------------------

/** Values for the sizes that a config does not set, all different. */
const sizeOfUnset: Readonly<Record<UnsetSize, number>> = { dim: 7, heads: 2, kv_heads: 1, head_dim: 3, value_dim: 5 };
const isUnset = (d: Dim): d is UnsetSize => unsetSizes.some((name) => name === d);

function inputsOf(m: AnyModule): BlockInputs {
  const closed = ({ dtype, dims, below = sizeOfUnset.dim }: BlockInput): BlockInput => ({
    dtype,
    dims: dims.map((d) => (isUnset(d) ? sizeOfUnset[d] : d)),
    ...(!isFloat(dtype) && { below }),
  });
  return Object.fromEntries(Object.entries(blockInputs(m)).map(([name, input]) => [name, closed(input)]));
}

/** All numbers under a key, anywhere in a config. */
export function valuesNamed(config: unknown, key: string): number[] {
  if (typeof config !== 'object' || config === null) return [];
  return Object.entries(config).flatMap(([name, value]) => [
    ...(name === key && value !== undefined ? [value as number] : []),
    ...valuesNamed(value, key),
  ]);
}

// ---- Running --------------------------------------------------------------------------------------------------------

export type Sizes = Readonly<Record<string, number>>;
export type Feeds = Readonly<Record<string, NDArray>>;

/** Different primes for the names in an example's inputs, `seq` at most `longest`. */
export function sizesOf({ inputs, longest }: Pick<Example, 'inputs' | 'longest'>, seq = 11): Sizes {
  const fitting = [29, 23, 19, 17, 13, 11, 7, 5, 3].find((p) => p <= Math.min(seq, longest)) ?? 1;
  const names = new Set(Object.values(inputs).flatMap(({ dims }) => dims.filter((d) => typeof d === 'string')));
  const primes = [2, 5, 7, 11, 13].filter((p) => p !== fitting);
  return Object.fromEntries([...names].map((name) => [name, name === 'seq' ? fitting : primes.shift()!]));
}

/** Random data for inputs at these sizes, the same for the same names. */
export function feedsFor(inputs: BlockInputs, sizes: Sizes, salt = ''): Feeds {
  const feed = (name: string, { dtype, dims, below = 2 }: BlockInput): NDArray => {
    const known = dims.map((d) => evaluateDim(d, sizes));
    if (isFloat(dtype)) return randomArray(name + salt, known, dtype);
    const numbers = randomNumbers(name + salt);
    return { dtype, dims: known, data: Float64Array.from({ length: countOf(known) }, () => Math.floor(numbers() * below)) };
  };
  return Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, feed(name, input)]));
}

/** Traces an example on its inputs, at their names or at known sizes. */
export function traceExample(module: AnyModule, inputs: BlockInputs, o: TraceOptions = {}, sizes?: Sizes): Graph {
  const types = Object.entries(inputs).map(([name, { dtype, dims }]) => {
    return [name, [dtype, sizes ? dims.map((d) => evaluateDim(d, sizes)) : dims]] as const;
  });
  return traceBlock(module, Object.fromEntries(types), o);
}

/** Computes a traced example in float64; its draws are pseudo-random, the same in every run. */
export function computeExample(module: AnyModule, graph: Graph, feeds: Feeds, sizes: Sizes): Record<string, NDArray> {
  return interpret(graph, { ...feeds, ...drawsOf(graph, sizes) }, { parameters: randomParameters(module).of, sizes });
}

/** The draws of a graph, by name. */
export function drawsOf(graph: Graph, sizes: Sizes): Feeds {
  const draws = graph.inputs.filter((v) => (v.leaf as Leaf).kind === 'draw');
  const drawn = draws.map((v) => {
    const array = randomArray(
      nameOf(v)!,
      v.dims.map((d) => evaluateDim(d, sizes)),
    );
    return [nameOf(v)!, { ...array, data: array.data.map((x) => (x + 1) / 2) }] as const;
  });
  return Object.fromEntries(drawn);
}

/** The derived inputs of a graph, computed as a runner would. */
export function derivedOf(graph: Graph, feeds: Feeds, sizes: Sizes): Feeds {
  const derived = graph.inputs.flatMap((v) => {
    const { leaf } = v;
    if (leaf?.kind !== 'derived') return [];
    const from = leaf.from.map((f) => feeds[nameOf(f)!]!);
    const array = computeDerived(leaf.how, from, (d) => evaluateDim(d, sizes), v, leaf.plus ?? 0);
    return array ? [[leaf.name, array] as const] : [];
  });
  return Object.fromEntries(derived);
}

/** What a runner adds to the feeds of a first call: derived inputs and empty caches. */
export function completedFeeds(graph: Graph, feeds: Feeds, sizes: Sizes): Feeds {
  const filled = (dims: readonly number[], dtype: NDArray['dtype'], value: number): NDArray => ({
    dtype,
    dims,
    data: new Float64Array(countOf(dims)).fill(value),
  });
  const more = graph.inputs.flatMap((v) => {
    const name = nameOf(v) ?? '';
    const dims = () => v.dims.map((d) => evaluateDim(d, sizes));
    if (isPastRole(graph.builder.roles.get(name))) return [[name, filled(dims(), v.dtype, 0)] as const];
    if (v.leaf?.kind === 'derived' && v.leaf.how === 'run') return [[name, filled([], v.dtype, 0)] as const];
    if (v.leaf?.kind === 'derived' && v.leaf.how === 'past_lengths')
      return [[name, filled(dims(), v.dtype, evaluateDim(v.leaf.plus ?? 0, sizes))] as const];
    return [];
  });
  return { ...derivedOf(graph, feeds, sizes), ...Object.fromEntries(more) };
}
