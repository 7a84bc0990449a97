// Examples of blocks made ready to run: the module, the inputs that its kind takes, and data for them.
import type { AnyBlock, Property } from '../block/block-definition';
import type { Registry } from '../block/registry';
import { type Dim, evaluateDim } from '../dim/dim';
import { interpret } from '../interpret/interpret';
import { type Graph, type Leaf, nameOf } from '../ir/graph';
import type { AnyModule } from '../module/module';
import { computeDerived } from '../sequence/derive';
import { countOf, type DType, isFloat, type NDArray } from '../tensor/tensor';
import { randomNumbers } from './random';
import { randomArray, randomParameters, type TraceOptions, traceBlock } from './run-block';

/** An input of an example. */
export interface ExampleInput {
  readonly dtype: DType;
  /** Sizes, some of them names: `batch`, `seq`. */
  readonly dims: readonly Dim[];
  /** For integers: all numbers are from 0 to before this. */
  readonly below?: number;
}
/** Inputs by name. */
export type ExampleInputs = Readonly<Record<string, ExampleInput>>;

/** A block at one of its configs. */
export interface Example {
  readonly block: AnyBlock;
  /** Counts the block's examples. */
  readonly index: number;
  /** As given. */
  readonly given: Readonly<Record<string, unknown>>;
  readonly module: AnyModule;
  /** As resolved; slots hold configs, or what has no config (a function) the module itself. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly inputs: ExampleInputs;
  /** The longest sequence that every part of it takes. */
  readonly longest: number;
  readonly properties: ReadonlySet<Property>;
}

/** Inputs for a block, if not those that its kind suggests. */
export type InputsOf = (block: AnyBlock, config: Readonly<Record<string, unknown>>) => ExampleInputs | undefined;

/** Builds an example of a block. `inputs` overrides what the kind suggests. */
export function exampleOf(block: AnyBlock, index: number, registry: Pick<Registry, 'parse'>, inputs?: InputsOf): Example {
  const given = { name: block.blockName, ...block.definition.examples[index] };
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
    inputs: inputs?.(block, plain) ?? inputsOf(block.kind, plain),
    longest: Math.min(...valuesNamed(plain, 'seqLen'), Number.POSITIVE_INFINITY),
    properties: new Set(typeof properties === 'function' ? properties(config as never) : properties),
  };
}

type Config = Readonly<Record<string, unknown>>;

// A part that holds a function has no config of its own.
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

// ---- Inputs by kind -------------------------------------------------------------------------------------------------

const [headDim, valueDim, anyDim] = [3, 5, 7];

function inputsOf(kind: string, config: Config): ExampleInputs {
  const dim = Number(config.dim ?? anyDim);
  const float = (...dims: Dim[]): ExampleInput => ({ dtype: 'float32', dims });
  const rows = (name: string): ExampleInput => float('batch', name, dim);
  const heads = Number(config.heads ?? 2);
  const kvHeads = Number(config.kvHeads ?? heads);
  switch (kind) {
    case 'attention':
      return {
        q: float('batch', heads, 'seq', headDim),
        k: float('batch', kvHeads, 'seq', headDim),
        v: float('batch', kvHeads, 'seq', valueDim),
      };
    case 'rotaryEmbedding':
      return { q: float('batch', heads, 'seq', dim), k: float('batch', 1, 'seq', dim) };
    case 'attentionBias':
      return { q: float('batch', heads, 'seq', headDim), k: float('batch', 1, 'seq', headDim) };
    case 'embedding':
      return { ids: { dtype: 'int64', dims: ['batch', 'seq'], below: Number(config.vocabSize ?? anyDim) } };
    case 'model':
      return modelInputs(config, dim);
    default:
      return { x: rows('seq'), ...(needsMemory(config) && { memory: float('batch', 'memory_seq', memoryDimOf(config, dim)) }) };
  }
}

function modelInputs(config: Config, dim: number): ExampleInputs {
  const read = (part: Config, prefix: string, seq: string): ExampleInputs => {
    const [embedding] = [part.embedding as Config | undefined];
    const width = Number(part.embeddingDim ?? part.dim ?? dim);
    return embedding
      ? { [`${prefix}ids`]: { dtype: 'int64', dims: ['batch', seq], below: Number(embedding.vocabSize ?? anyDim) } }
      : { [`${prefix}x`]: { dtype: 'float32', dims: ['batch', seq, width] } };
  };
  const { encoder, decoder } = config as { encoder?: Config; decoder?: Config };
  if (encoder && decoder) return { ...read(encoder, '', 'seq'), ...read(decoder, 'decoder_', 'decoder_seq') };
  const memory = { dtype: 'float32', dims: ['batch', 'memory_seq', memoryDimOf(config, dim)] } as const;
  return { ...read(config, '', 'seq'), ...(needsMemory(config) && { memory }) };
}

const needsMemory = (config: Config): boolean => valuesNamed(config, 'cross').some(Boolean);
const memoryDimOf = (config: Config, dim: number): number => Number(valuesNamed(config, 'memoryDim')[0] ?? dim);

/** What stands under a key anywhere in a config. */
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
export function feedsFor(inputs: ExampleInputs, sizes: Sizes, salt = ''): Feeds {
  const feed = (name: string, { dtype, dims, below = 2 }: ExampleInput): NDArray => {
    const known = dims.map((d) => evaluateDim(d, sizes));
    if (isFloat(dtype)) return randomArray(name + salt, known, dtype);
    const numbers = randomNumbers(name + salt);
    return { dtype, dims: known, data: Float64Array.from({ length: countOf(known) }, () => Math.floor(numbers() * below)) };
  };
  return Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, feed(name, input)]));
}

/** Traces an example on its inputs, at their names or at known sizes. */
export function traceExample(module: AnyModule, inputs: ExampleInputs, o: TraceOptions = {}, sizes?: Sizes): Graph {
  const types = Object.entries(inputs).map(([name, { dtype, dims }]) => {
    return [name, [dtype, sizes ? dims.map((d) => evaluateDim(d, sizes)) : dims]] as const;
  });
  return traceBlock(module, Object.fromEntries(types), o);
}

/** Computes a traced example in float64; what it draws is random, the same in every run. */
export function computeExample(module: AnyModule, graph: Graph, feeds: Feeds, sizes: Sizes): Record<string, NDArray> {
  return interpret(graph, { ...feeds, ...drawsOf(graph, sizes) }, { parameters: randomParameters(module).of, sizes });
}

/** The draws that a graph asks for, by name. */
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
