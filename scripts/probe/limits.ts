// What kernels cannot do although they exist: every size and feature that an op names in `asks` is tried, and compared with the op's definition.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Dim } from '../../packages/core/src/dim/dim';
import { interpret } from '../../packages/core/src/interpret/interpret';
import { apply, type Value } from '../../packages/core/src/ir/graph';
import { type FeatureOutcome, type KernelLimits, pairOf } from '../../packages/core/src/lower/kernel-limits';
import type { SizeLimit } from '../../packages/core/src/lower/size-limit';
import { toBytes } from '../../packages/core/src/onnx/encode';
import { GraphBuilder } from '../../packages/core/src/ops/vocabulary';
import { castTensor, toArray, toTensor } from '../../packages/core/src/tensor/convert';
import { countOf, type DType, type NDArray, type Tensor } from '../../packages/core/src/tensor/tensor';
import { randomNumbers } from '../../packages/core/src/testing/random';
import { budgetsOf, largestOf } from '../../packages/core/src/testing/rounding';
import { type Call, type LimitSample, limitSamples, type Parts, type Wanted } from './limit-samples';
import { modelOf } from './models';
import { askInTurn, type Provider } from './placement';

/** What one call became: as a feature, or unknown where the device cannot try it. */
export type Outcome = FeatureOutcome | 'unknown';
/** Outcomes by the names of the calls. */
export type Outcomes = Readonly<Record<string, Outcome>>;

/** The limits of the kernels of a provider, and what they were found from. */
export interface Found {
  readonly limits: Record<string, KernelLimits>;
  /** Everything that was tried and is not limited, by op: features and sizes, as text. */
  readonly tried: Record<string, string>;
  /** dtypes in which even the plainest call is wrong or fails, by op. */
  readonly without: Record<string, readonly DType[]>;
}

/** The dtypes of a kernel on the provider, by op. */
export type DTypesOf = (op: string) => readonly DType[];

interface Case {
  readonly sample: LimitSample;
  readonly dtype: DType;
  readonly call: number;
  readonly size?: readonly [name: string, value: number];
  readonly features: readonly string[];
}
const nameOf = ({ sample, dtype, call, size, features }: Case): string =>
  [sample.key, dtype, `call ${call}`, ...(size ? [size.join('=')] : []), ...features].join(', ');

const probedDtypes: readonly DType[] = ['float32', 'float16'];

// ---- Calls --------------------------------------------------------------------------------------------------------------

/** Every feature alone and with each other one, and every value of a size, at each of the sample's calls; pairs in one dtype. */
function casesOf(sample: LimitSample, dtypes: readonly DType[]): Case[] {
  const { sizes, sizesOf = {}, features, calls } = sample;
  const plain: Pick<Case, 'size' | 'features'> = { features: [] };
  const alone = [plain, ...features.map((f) => ({ features: [f] }))];
  const sized = [
    ...Object.entries(sizes).flatMap(([name, values]) =>
      values.map((value) => ({ size: [name, value] as const, features: sizesOf[name] ? [sizesOf[name]] : [] })),
    ),
  ];
  const pairs = features.flatMap((a, i) => features.slice(i + 1).map((b) => ({ features: [a, b] })));
  return probedDtypes
    .filter((dtype) => dtypes.includes(dtype))
    .flatMap((dtype, i) =>
      calls.flatMap((c, call) =>
        (c.loud ? [plain] : [...alone, ...(call < 2 ? sized : []), ...(i === 0 ? pairs : [])]).map((wanted) => ({
          sample,
          dtype,
          call,
          ...wanted,
        })),
      ),
    )
    .filter(onceForPairs(sample));
}

// A pair at the first call that allows it, unless the calls differ for it.
function onceForPairs({ varying = [] }: LimitSample): (c: Case) => boolean {
  const seen = new Set<string>();
  return (c) => {
    if (c.features.length < 2 || c.features.some((f) => varying.includes(f))) return true;
    const pair = String(c.features);
    if (seen.has(pair) || !made(c)) return false;
    seen.add(pair);
    return true;
  };
}

interface Made extends Call {
  readonly g: GraphBuilder;
  readonly outputs: readonly Value[];
  readonly feeds: ReadonlyMap<string, Tensor>;
}

/** The call as a graph of one node; undefined where the features exclude each other. */
function made(c: Case): Made | undefined {
  const { sample, dtype, size, features } = c;
  const g = new GraphBuilder();
  const feeds = new Map<string, Tensor>();
  const numbers = randomNumbers(sample.key);
  let states = 0;
  const given = (t: Tensor, dims: readonly Dim[] = t.dims): Value => {
    const name = `x${feeds.size}`;
    feeds.set(name, t);
    return g.input(name, t.dtype, dims);
  };
  // Multiples of 1/64, which every dtype holds.
  const floats = (dims: readonly number[], size: number, named?: readonly Dim[]): Value => {
    const data = Float64Array.from({ length: countOf(dims) }, () => (Math.round(96 * (2 * numbers() - 1)) / 64) * size);
    return given(castTensor(toTensor({ dtype: 'float64', dims, data }), dtype), named);
  };
  const parts: Parts = {
    dtype,
    floats: (...dims) => floats(dims, 1),
    loud: (...dims) => floats(dims, 8),
    sized: (dims, known) => floats(known, 1, dims),
    data: (type, dims, data) => given(toTensor({ dtype: type, dims, data: Float64Array.from(data) })),
    // Each has its own name: a state that is asked for again by its name is the same memory.
    state: (...dims) => g.state(`state${states++}`, dtype, dims, 0.5),
  };
  const wanted: Wanted = {
    call: sample.calls[c.call]!,
    has: (feature) => features.includes(feature),
    size: (name, usual) => (size?.[0] === name ? size[1] : usual),
  };
  const call = sample.build(parts, wanted);
  if (!call) return undefined;
  const asked = call.op.asks!(call.operands, call.attrs);
  const missing = [...features.filter((f) => asked[f] !== true), ...(size && asked[size[0]] !== size[1] ? [size.join('=')] : [])];
  if (missing.length) throw new Error(`the sample of ${nameOf(c)} does not ask for ${missing}, but for ${JSON.stringify(asked)}`);
  return { ...call, g, feeds, outputs: apply(call.op, call.operands, call.attrs) };
}

// ---- Models -------------------------------------------------------------------------------------------------------------

/** A model for `run-models.mjs`. */
export interface LimitModel {
  /** Of the call. */
  readonly name: string;
  readonly path: string;
  readonly feeds: Readonly<
    Record<string, { readonly type: DType; readonly dims: readonly number[]; readonly data: readonly number[] }>
  >;
  readonly expected?: Readonly<
    Record<string, { readonly data: readonly (number | string | null)[]; readonly tolerance: number }>
  >;
}

// A unit in the last place of 1. CUDA multiplies float32 as TF32, whose mantissa has 10 bits like that of float16: an output may be off by four such
// units of its largest element. (On an H200 all that is right lies within them, and what is not is off by more than thirty times as much.)
const lastPlaces: Partial<Record<DType, number>> = { float16: 2 ** -10, bfloat16: 2 ** -7 };

/** Models for every call of the kernels that a provider has, written to a folder. */
export async function limitModels(
  dtypesOf: DTypesOf,
  { name }: Pick<Provider, 'name'>,
  folder: string,
  most = Number.POSITIVE_INFINITY,
): Promise<LimitModel[]> {
  const models: LimitModel[] = [];
  for (const sample of limitSamples)
    for (const c of casesOf(sample, dtypesOf(sample.key))) {
      const m = models.length < most ? made(c) : undefined;
      if (!m) continue;
      const { g, compared = { 0: 'all' }, precision = name === 'cuda' ? 'float16' : c.dtype } = m;
      for (const i of Object.keys(compared)) g.output(`y${i}`, m.outputs[Number(i)]!);
      const graph = g.finish();
      const model = modelOf(graph);
      if (!model) throw new Error(`the sizes of ${nameOf(c)} are not known`);
      const path = `limit-${name}-${models.length}.onnx`;
      writeFileSync(join(folder, path), await toBytes(model));
      const arrays = Object.fromEntries([...m.feeds].map(([input, t]) => [input, toArray(t)]));
      const exact = interpret(graph, arrays);
      const budgets = budgetsOf(graph, arrays, {}, exact);
      const toleranceOf = (output: string): number => {
        const finite = { ...exact[output]!, data: exact[output]!.data.filter(Number.isFinite) };
        const budget = Number.isFinite(budgets[output]!) ? budgets[output]! : 0;
        return Math.max(budget, 4 * (lastPlaces[precision] ?? 0) * largestOf(finite));
      };
      const expected = Object.entries(compared).map(([i, rows]) => {
        const y = exact[`y${i}`]!;
        return [`y${i}`, { data: shown(y, rows), tolerance: toleranceOf(`y${i}`) }] as const;
      });
      const feeds = [...m.feeds].map(
        ([input, { dtype, dims, data }]) =>
          [input, { type: dtype, dims, data: Array.from(data as ArrayLike<number>, Number) }] as const,
      );
      models.push({ name: nameOf(c), path, feeds: Object.fromEntries(feeds), expected: Object.fromEntries(expected) });
    }
  return models;
}

// The elements that are compared: all, or so many rows of each element of the batch.
function shown({ dims, data }: NDArray, rows: readonly number[] | 'all'): (number | string | null)[] {
  const width = dims.at(-1) ?? 1;
  const count = dims.at(-2) ?? 1;
  const perBatch = data.length / (dims[0] ?? 1);
  return Array.from(data, (x, i) => {
    const batch = Math.floor(i / perBatch);
    if (rows !== 'all' && Math.floor(i / width) % count >= rows[batch]!) return null;
    return Number.isFinite(x) ? Number(x.toPrecision(9)) : String(x);
  });
}

/** The dtypes that the device of a provider can try at all: some adapters have no 16-bit floats. */
export async function triable(dtypesOf: DTypesOf, provider: Provider, folder: string): Promise<DTypesOf> {
  const sample = limitSamples.find(({ key }) => dtypesOf(key).includes('float16'));
  if (!sample) return dtypesOf;
  const [first] = await limitModels((op) => (op === sample.key ? ['float16'] : []), provider, folder, 1);
  const { outcomes } = askLimits([first!], provider, { compares: false }, folder);
  return outcomes[first!.name] === 'unknown' ? (op) => dtypesOf(op).filter((d) => d !== 'float16') : dtypesOf;
}

/** What each call becomes on a provider. Without `compares` it is only asked whether it runs. */
export function askLimits(
  models: readonly LimitModel[],
  provider: Provider,
  { compares }: { readonly compares: boolean },
  folder: string,
): { readonly version: string; readonly outcomes: Outcomes; readonly told: Readonly<Record<string, string>> } {
  const outcomes: Record<string, Outcome> = Object.fromEntries(models.map(({ name }) => [name, 'fails']));
  const told: Record<string, string> = {};
  const asked = models.map(({ expected, ...model }) => ({ ...model, ...(compares && { expected }) }));
  const version = askInTurn('run-models.mjs', asked, provider, folder, (said, i) => {
    outcomes[models[i]!.name] = outcomeIn(said);
    if (!/^@@(right|ran)/m.test(said)) told[models[i]!.name] = /^@@.*/m.exec(said)?.[0] ?? said.slice(-300);
  });
  if (process.env.PROBE_KEEP)
    writeFileSync(join(folder, `limits-${provider.name}-${version}.json`), JSON.stringify(told, undefined, 1));
  return { version, outcomes, told };
}

/** Adapters without 16-bit floats say so when a model runs; that says nothing about the kernel. */
function outcomeIn(said: string): Outcome {
  if (/^@@right/m.test(said)) return 'right';
  if (/^@@ran/m.test(said)) return 'runs';
  if (/^@@wrong/m.test(said)) return 'wrong';
  return /requires f16|shader-f16|ShaderF16/.test(said) ? 'unknown' : 'fails';
}

// ---- Limits -------------------------------------------------------------------------------------------------------------

/** What the outcomes say about each kernel. */
export function limitsFound(outcomes: Outcomes, dtypesOf: DTypesOf): Found {
  const found: Found = { limits: {}, tried: {}, without: {} };
  for (const sample of limitSamples) {
    const all = casesOf(sample, dtypesOf(sample.key)).filter((c) => {
      const outcome = outcomes[nameOf(c)];
      return outcome !== undefined && outcome !== 'unknown';
    });
    const isPlain = (c: Case): boolean => c.features.length === 0 && !c.size;
    const bad = (o: FeatureOutcome): boolean => o === 'wrong' || o === 'fails';
    const without = [...new Set(all.filter((c) => isPlain(c) && bad(outcomeOf(c))).map((c) => c.dtype))];
    if (without.length) found.without[sample.key] = without;
    const cases = all.filter((c) => !without.includes(c.dtype));
    const asking = (features: readonly string[]): FeatureOutcome | undefined =>
      worst(cases.filter((c) => !c.size && String(c.features) === String(features)).map(outcomeOf));
    const limits: Record<string, SizeLimit | FeatureOutcome> = {};
    const right: string[] = [];
    const runs: string[] = [];
    for (const feature of sample.features) {
      const outcome = asking([feature]);
      if (outcome === undefined) continue;
      if (bad(outcome)) limits[feature] = outcome;
      else (outcome === 'right' ? right : runs).push(feature);
    }
    for (const [i, a] of sample.features.entries())
      for (const b of sample.features.slice(i + 1)) {
        const outcome = a in limits || b in limits ? undefined : asking([a, b]);
        if (outcome && bad(outcome)) limits[pairOf(a, b)] = outcome;
      }
    const sizes: string[] = [];
    for (const [name, values] of Object.entries(sample.sizes)) {
      const of = (value: number): FeatureOutcome | undefined =>
        worst(cases.filter((c) => c.size?.[0] === name && c.size[1] === value).map(outcomeOf));
      const asked = values.filter((v) => of(v) !== undefined);
      if (!asked.length) continue;
      const limit = generalised(asked.map((v) => [v, !bad(of(v)!)] as const));
      if (limit) limits[name] = limit === 'none' ? 'fails' : limit;
      sizes.push(`${name} ${asked[0]} to ${asked.at(-1)} (${asked.length} values)`);
    }
    if (!cases.length) continue;
    if (Object.keys(limits).length) found.limits[sample.key] = limits;
    found.tried[sample.key] = [
      ...(right.length ? [`right: ${right.join(', ')}`] : []),
      ...(runs.length ? [`runs: ${runs.join(', ')}`] : []),
      ...sizes,
    ].join('; ');
  }
  return found;

  function outcomeOf(c: Case): FeatureOutcome {
    return outcomes[nameOf(c)] as FeatureOutcome;
  }
}

// Kernels that the CPU lacks. Seen on an NVIDIA H200: a scale of 0 is taken for the default one, and flash attention returns infinities for a negative
// one. The caches of keys and values of PagedAttention shared one memory in that run, so that nothing else about its numbers is known.
const seen: Readonly<Record<string, KernelLimits>> = {
  'com.microsoft.PackedMultiHeadAttention': { 'scale of 0': 'wrong', 'negative scale': 'wrong' },
  'com.microsoft.PagedAttention': { 'scale of 0': 'wrong', 'negative scale': 'wrong' },
};

/** Where numbers are not known, those that are wrong on the CPU, or were seen on a GPU that compared little else, are taken to be wrong. */
export function asOnTheCpu({ limits: own, tried: ownTried, without }: Found, cpu: Found['limits']): Found {
  const limits: Record<string, KernelLimits> = { ...own };
  const tried: Record<string, string> = { ...ownTried };
  for (const op of Object.keys(ownTried)) {
    const wrong = Object.entries({ ...cpu[op], ...seen[op] }).filter(([name, l]) => l === 'wrong' && !own[op]?.[name]);
    if (!wrong.length) continue;
    limits[op] = { ...own[op], ...Object.fromEntries(wrong) };
    const names = wrong.map(([name]) => name).join(', ');
    tried[op] =
      `${op in seen ? 'seen to be wrong on an NVIDIA H200' : 'wrong on the CPU, and taken to be wrong here'}: ${names}; ${ownTried[op]}`;
  }
  return { limits, tried, without };
}

const keptFrom = 'from an earlier probe: ';
/**
 * What was found, with what is known about ops that were not asked, or of which no plain call is right in any dtype. That is rather a fault of the
 * question (its tolerance, or the model that it makes) than of a kernel, which would be of no use to anybody; such ops are `doubted`.
 */
export function withKnown(
  { limits, tried, without }: Found,
  known: Pick<Found, 'limits' | 'tried'>,
): Found & { readonly doubted: readonly string[] } {
  const kept = Object.keys(known.tried).filter((op) => tried[op] === undefined);
  const from = (text: string): string => (text.startsWith(keptFrom) ? text : keptFrom + text);
  return {
    limits: { ...limits, ...Object.fromEntries(kept.flatMap((op) => (known.limits[op] ? [[op, known.limits[op]]] : []))) },
    tried: { ...tried, ...Object.fromEntries(kept.map((op) => [op, from(known.tried[op]!)])) },
    without: Object.fromEntries(Object.entries(without).filter(([op]) => tried[op] !== undefined)),
    doubted: Object.keys(without).filter((op) => tried[op] === undefined),
  };
}

const order: readonly FeatureOutcome[] = ['fails', 'wrong', 'runs', 'right'];
const worst = (outcomes: readonly FeatureOutcome[]): FeatureOutcome | undefined => order.find((o) => outcomes.includes(o));

/**
 * The simplest rule that no tried value contradicts and that admits most of those that work: multiples, or powers of two, between two bounds. A bound
 * is there only where a value beyond it was tried and does not work. Undefined where all work.
 */
export function generalised(tried: readonly (readonly [value: number, works: boolean])[]): SizeLimit | 'none' | undefined {
  if (tried.every(([, works]) => works)) return undefined;
  let best: { readonly covered: number; readonly limit: SizeLimit } | undefined;
  const rules: readonly (readonly [SizeLimit, (n: number) => boolean])[] = [
    ...[1, 2, 4, 8, 16, 32, 64, 128, 256].map((m) => [m === 1 ? {} : { multipleOf: m }, (n: number) => n % m === 0] as const),
    [{ powerOfTwo: true }, (n) => Number.isInteger(Math.log2(n))],
  ];
  for (const [rule, fits] of rules) {
    const fitting = tried.filter(([n]) => fits(n)).sort(([a], [b]) => a - b);
    for (let from = 0; from < fitting.length; from++) {
      let to = from;
      while (fitting[to]?.[1]) to++;
      const open = to === fitting.length;
      if (to - from < (best?.covered ?? 1) || (to - from === best?.covered && !(open && best.limit.max))) continue;
      const limit: SizeLimit = {
        ...rule,
        ...(from > 0 && { min: fitting[from]![0] }),
        ...(!open && { max: fitting[to - 1]![0] }),
      };
      best = { covered: to - from, limit };
    }
  }
  return best?.limit ?? 'none';
}
