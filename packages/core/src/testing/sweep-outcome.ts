// What becomes of one case of a sweep: a refusal that says what is wrong, or a model that runs with the right numbers.
import type { AnyBlock } from '../block/block-definition';
import type { Registry } from '../block/registry';
import { compile, type Model } from '../compile/compile';
import type { Field } from '../config/fields';
import { evaluateDim } from '../dim/dim';
import { FeedError, OnnxformersError } from '../error';
import { type InterpretOptions, interpret } from '../interpret/interpret';
import type { Graph } from '../ir/graph';
import type { Target } from '../lower/target';
import type { BlockInputs } from '../module/kinds';
import { type AnyModule, modulesOf, namesOf } from '../module/module';
import type { Parameter } from '../parameter/parameter';
import type { Ort } from '../runtime/ort';
import { createRunner, type Runner } from '../runtime/runner';
import { pastOf } from '../sequence/io-state';
import { castTensor, toArray, toTensor } from '../tensor/convert';
import { countOf, isFloat, type Tensor } from '../tensor/tensor';
import { compare, printComparison } from './close';
import { completedFeeds, drawsOf, type Example, exampleFrom, type Feeds, feedsFor, type Sizes, sizesOf } from './example';
import { budgetsOf } from './rounding';
import { randomParameters } from './run-block';
import type { Setting } from './sweep-settings';
import { causally, typesOf } from './variants';

/** A config and what stands around it. */
export interface SweepCase {
  readonly block: AnyBlock;
  readonly config: Readonly<Record<string, unknown>>;
  /** The fields that differ from a config that is right. */
  readonly changed: readonly string[];
  readonly setting: Setting;
}

/** Where the cases of a sweep are tried. */
export interface SweepPlace {
  readonly registry: Pick<Registry, 'parse'>;
  /** Targets that models are compiled for. */
  readonly targets: readonly Target[];
  /** The target whose models are run, and the runtime that runs them. */
  readonly runs: { readonly target: Target; readonly ort: Ort };
}

/** `compiled`: too large to be run here; `passed over`: the setting means nothing for the block. */
export type SweepEnd = 'refused' | 'compiled' | 'ran' | 'passed over';

/**
 * Tries one case.
 *
 * @throws Error that says what came out instead of a complete refusal or the right numbers
 */
export async function tryCase(one: SweepCase, place: SweepPlace): Promise<SweepEnd> {
  const { block, config, setting } = one;
  const refused = (error: unknown): 'refused' => {
    checkRefusal(error, one);
    return 'refused';
  };
  let example: Example;
  try {
    example = exampleFrom(block, config, place.registry);
  } catch (error) {
    return refused(error);
  }
  const inputs = (setting.inputs ?? ((given: BlockInputs) => given))(example.inputs, example);
  if (!inputs) return 'passed over';
  const m = setting.causal ? causally(example.module) : example.module;
  if (modulesOf(m).length > mostModules) return 'compiled';
  const weights = sizeOf(m) > mostNumbers ? undefined : weightsOf(m, setting.options?.dtype ?? 'float32');
  const compiled = (target: Target): Model | 'refused' => {
    try {
      return compile(m, { target, inputs: typesOf(inputs), ...setting.options, ...(weights && { weights }) });
    } catch (error) {
      return refused(error);
    }
  };
  for (const target of place.targets) compiled(target);
  const model = compiled(place.runs.target);
  if (model === 'refused') return model;
  if (!weights) return 'compiled';
  const sizes = sizesIn(inputs, example, setting);
  if (Object.values(inputs).some(({ dims }) => countOf(dims.map((d) => evaluateDim(d, sizes))) > mostNumbers)) return 'compiled';
  return runs(model, { ...one, inputs, sizes, weights }, place.runs.ort, refused);
}

/** More of them take longer to run here than the case is worth. */
const mostModules = 300;
const mostNumbers = 100_000;

const sizeOf = (m: AnyModule): number => [...namesOf(m).parameters.values()].reduce((n, { dims }) => n + countOf(dims), 0);

// Numbers that the dtype holds: how they are stored rounds nothing.
function weightsOf(m: AnyModule, dtype: 'float32' | 'float16' | 'bfloat16'): ReadonlyMap<string, Tensor> {
  const { byName } = randomParameters(m);
  const stored = (x: Tensor): Tensor =>
    x.dtype === 'float32' && dtype !== 'float32' ? castTensor(castTensor(x, dtype), 'float32') : x;
  return new Map([...namesOf(m).parameters.keys()].map((name) => [name, stored(toTensor(byName[name]!))]));
}

function sizesIn(inputs: BlockInputs, example: Example, { sizes }: Setting): Sizes {
  const usual = sizesOf({ inputs, longest: example.longest });
  return sizes ? sizes(usual, example.longest) : usual;
}

// ---- Refusals -------------------------------------------------------------------------------------------------------

/** Complete: where, what is wrong, what was expected or what to do; and about one of the fields that were changed, or what stands around the block. */
function checkRefusal(error: unknown, one: SweepCase): void {
  const { changed, setting } = one;
  if (!(error instanceof OnnxformersError)) throw new Error(`fails with ${(error as Error)?.stack ?? error}`, { cause: error });
  const { name, message, path, problem, expected, got, hint } = error;
  const lacks = [
    !path && 'where',
    !problem && 'what is wrong',
    !(expected || hint) && 'what was expected',
    !(got || hint) && 'what was there',
  ];
  const missing = lacks.filter((x) => x);
  if (missing.length) throw new Error(`refused without saying ${missing.join(', ')}: ${name}: ${message}`);
  if (/undefined|\[object|NaN is|function \(|internal:/.test(message))
    throw new Error(`refused in the words of JavaScript: ${message}`);
  const named = [...changed, ...namesInside(one)].some((field) => new RegExp(`(^|[^a-zA-Z])${field}($|[^a-zA-Z])`).test(message));
  if (!named && !setting.refusedAs.test(message) && !isTooLarge(message, one))
    throw new Error(`refused without naming ${[...changed, setting.name].join(' or ')}: ${name}: ${message}`);
}

/** A tensor with more elements than kernels count: its size follows from several fields, one of which is large. */
const isTooLarge = (message: string, { changed, config }: SweepCase): boolean =>
  /a tensor would have \d+ elements|a size is not an integer that can be counted exactly/.test(message) &&
  changed.some((field) => Number(config[field]) > 2 ** 20);

/** What the changed fields are called in the slots of the block, which inherit them under other names: `outDim` is the `dim` of layers inside. */
function namesInside({ block, config, changed }: SweepCase): readonly string[] {
  const values = changed.map((field) => config[field]);
  const inherited = Object.values(block.fields as Readonly<Record<string, Field>>).flatMap(({ inside }) => {
    try {
      return Object.entries(inside?.(config, 0) ?? {});
    } catch {
      // It reads a field that has no value here.
      return [];
    }
  });
  return inherited.filter(([, value]) => value !== undefined && values.includes(value)).map(([name]) => name);
}

// ---- Runs -----------------------------------------------------------------------------------------------------------

interface Prepared extends SweepCase {
  readonly inputs: BlockInputs;
  readonly sizes: Sizes;
  readonly weights: ReadonlyMap<string, Tensor>;
}

async function runs(model: Model, call: Prepared, ort: Ort, refused: (error: unknown) => 'refused'): Promise<SweepEnd> {
  const { inputs, sizes, setting } = call;
  const first: Feeds = { ...feedsFor(inputs, sizes), ...setting.feeds?.(sizes), ...drawsOf(model.traced, sizes) };
  const run = await createRunner(model, ort, { session: { graphOptimizationLevel: 'disabled', intraOpNumThreads: 1 } });
  try {
    const outputs = await outputsOf(run, first);
    if (outputs instanceof FeedError) return refused(outputs);
    checkNumbers(model, call, first, sizes, outputs, 'the first call');
    const past = pastOf(outputs);
    const grows = Object.keys(past).length > 0 && setting.options?.state === 'io' && 'seq' in sizes;
    if (!grows) return 'ran';
    // A second call of one row; a memory comes in the first only.
    const later = { ...sizes, seq: 1, ...('memory_seq' in sizes && { memory_seq: 0 }) };
    const fresh: Feeds = { ...feedsFor(inputs, later, ' again'), ...setting.feeds?.(later), ...drawsOf(model.traced, later) };
    const second: Feeds = { ...fresh, ...Object.fromEntries(Object.entries(past).map(([name, t]) => [name, toArray(t)])) };
    const bound = { ...later, past: sizes.seq!, ...('memory_seq' in sizes && { past_memory: sizes.memory_seq! }) };
    const next = await outputsOf(run, second);
    if (next instanceof FeedError) return refused(next);
    checkNumbers(model, call, second, bound, next, 'the second call');
    return 'ran';
  } finally {
    await run.dispose();
  }
}

async function outputsOf(run: Runner, feeds: Feeds): Promise<Record<string, Tensor> | FeedError> {
  try {
    return await run(Object.fromEntries(Object.entries(feeds).map(([name, x]) => [name, toTensor(x)])));
  } catch (error) {
    if (error instanceof FeedError) return error;
    throw error;
  }
}

function checkNumbers(
  model: Model,
  call: Prepared,
  feeds: Feeds,
  sizes: Sizes,
  outputs: Record<string, Tensor>,
  which: string,
): void {
  const { traced, names } = model;
  if (Object.values(outputs).every(({ dims }) => dims.includes(0))) return;
  const arrays: Feeds = Object.fromEntries(Object.entries(feeds).map(([name, x]) => [name, toArray(toTensor(x))]));
  const bound = { past: 0, past_memory: 0, ...sizes };
  const all = { ...completedFeeds(traced, arrays, bound), ...arrays };
  const values = new Map([...call.weights].map(([name, t]) => [name, toArray(t)]));
  const options = { parameters: (p: Parameter) => values.get(names.nameOf.get(p)!)!, sizes: bound };
  const exact = interpret(traced, all, options);
  const budgets = budgetsOf(traced, all, options, exact);
  for (const [name, y] of Object.entries(exact)) {
    const got = outputs[name];
    if (!got) throw new Error(`${which} gives no ${name}`);
    // Of a definition that is not a number there, nothing can be asked.
    if (y.data.some((x) => !Number.isFinite(x))) continue;
    const result = compare(got, { ...y, dtype: got.dtype }, { atol: budgets[name]!, rtol: 0 });
    if (!result.close && !overflows(traced, all, options)) throw new Error(`${name} of ${which}: ${printComparison(result)}`);
  }
}

/** Whether a number in the definition is larger than float32 holds, so that what comes out in float32 is not determined. */
function overflows(graph: Graph, feeds: Feeds, options: Pick<InterpretOptions, 'parameters' | 'sizes'>): boolean {
  let found = false;
  interpret(graph, feeds, {
    ...options,
    prefer: 'decompose',
    wrapNode(_, operands, compute) {
      const results = compute(operands);
      for (const { dtype, data } of results)
        if (isFloat(dtype)) found ||= data.some((x) => Number.isFinite(x) && !Number.isFinite(Math.fround(x)));
      return results;
    },
  });
  return found;
}
