// Matches the weights that a model requires with those of a checkpoint.
import { checkArguments } from '../arguments';
import { checkOptions, describe, type ErrorDetails, nearest, WeightError } from '../error';
import { bytesOfTensor, castTensor } from '../tensor/convert';
import { bytesOf, countOf, type DType, dtypes, isFloat, type Tensor } from '../tensor/tensor';
import { castLazy, isLazy, type LazyTensor, lazyTensor } from './lazy';
import type { NameMap } from './name-map';

type Weight = Tensor | LazyTensor | (() => Tensor | Promise<Tensor>);
/** Weights by name: in memory, lazy, or computed by a function when they are needed. */
export type WeightSource = ReadonlyMap<string, Weight>;

/** What a model requires of one weight. */
export interface ExpectedWeight {
  readonly dims: readonly number[];
  /** Floats of another dtype are cast when loaded. Absent: any dtype is accepted. */
  readonly dtype?: DType;
}

/** Options of {@link matchWeights}. */
export interface MatchOptions {
  /** Loads the weights that match and reports the rest. */
  readonly partial?: boolean;
  /** Map from the names of another project; names that it does not contain are used unchanged. */
  readonly nameMap?: NameMap;
  /** Further names of tied weights: alias → the path of the weight itself. If both are in the checkpoint, they must be equal. */
  readonly aliases?: ReadonlyMap<string, string>;
}

/** The result of matching, by the names of the model; `unknown` by the names of the checkpoint. */
export interface MatchReport {
  readonly loaded: readonly string[];
  /** Required, but missing in the checkpoint. */
  readonly missing: readonly string[];
  /** In the checkpoint, but unknown to the model. */
  readonly unknown: readonly string[];
  /** In the checkpoint with the wrong dims or dtype. */
  readonly mismatched: readonly string[];
  /** Further names of tied weights in the checkpoint: compared with the weight when it is loaded. */
  readonly repeated: readonly { readonly path: string; readonly name: string }[];
  /** In the checkpoint as another float type, cast when loaded. */
  readonly cast: readonly { readonly path: string; readonly from: DType; readonly to: DType }[];
}

/** The weights of a model, checked. */
export interface MatchedWeights {
  readonly weights: Map<string, LazyTensor>;
  readonly report: MatchReport;
}

// Number of faults that an error lists.
const most = 4;

/**
 * Finds the weight for each path that a model requires. Nothing is read.
 *
 *     const { parameters, aliases } = namesOf(module);
 *     const { weights, report } = matchWeights(parameters, given, { aliases, nameMap: names, partial: true });
 *
 * @throws ConfigError for an unknown option
 * @throws WeightError for a weight that is missing, unknown, duplicate, or of the wrong dims or dtype; with `partial` these are omitted and
 *   listed in the report, except a duplicate weight
 */
export function matchWeights(
  expected: Iterable<readonly [path: string, wanted: ExpectedWeight]>,
  source: WeightSource,
  o: MatchOptions = {},
): MatchedWeights {
  checkArguments('matchWeights', { parameters: expected, source });
  checkOptions('matchWeights', o, { partial: true, nameMap: true, aliases: true });
  const wanted = new Map(expected);
  const { found, spare, unknown } = assign(wanted, source, o);
  const weights = new Map<string, LazyTensor>();
  const missing: string[] = [];
  const mismatched: string[] = [];
  const cast: { path: string; from: DType; to: DType }[] = [];
  const faults: ErrorDetails[] = [];
  const repeated: { path: string; name: string }[] = [];
  for (const [path, want] of wanted) {
    const given = found.get(path);
    if (!given) {
      missing.push(path);
      continue;
    }
    const others = spare.get(path) ?? [];
    const wrong = [
      faultOf(path, want, given),
      ...others.map((o) => faultOf(o.name, want, o.weight) ?? tiedDtype(path, given, o)),
    ].find((fault) => fault !== undefined);
    if (wrong) {
      mismatched.push(path);
      faults.push(wrong);
      continue;
    }
    const weight = others.reduce(
      (first, { name, weight: other }) => sameAs(first, asLazy(name, want, other), path, name),
      asLazy(path, want, given),
    );
    repeated.push(...others.map(({ name }) => ({ path, name })));
    if (want.dtype && weight.dtype !== want.dtype) cast.push({ path, from: weight.dtype, to: want.dtype });
    weights.set(path, castLazy(weight, want.dtype ?? weight.dtype));
  }
  if (!o.partial) {
    faults.push(...missing.slice(0, most).map((path) => missingFault(path, wanted.get(path)!, unknown)));
    faults.push(...unknown.slice(0, most).map((name) => unknownFault(name, missing.length ? missing : wanted.keys())));
    raise(faults, mismatched.length + missing.length + unknown.length);
  }
  return { weights, report: { loaded: [...weights.keys()], missing, unknown, mismatched, repeated, cast } };
}

function assign(wanted: ReadonlyMap<string, ExpectedWeight>, source: WeightSource, o: MatchOptions) {
  const found = new Map<string, Weight>();
  const spare = new Map<string, { readonly name: string; readonly weight: Weight }[]>();
  const names = new Map<string, string>();
  const unknown: string[] = [];
  for (const [name, weight] of source) {
    if (!isWeight(weight))
      throw new WeightError({
        path: `weight "${name}"`,
        problem: 'not a tensor',
        expected: 'a tensor, a lazy tensor, or a function that returns a tensor',
        got: describe(weight),
        hint: "Make one with tensor('float32', dims, numbers)",
      });
    const ours = o.nameMap?.toOurs(name) ?? name;
    const tied = o.aliases?.get(ours);
    if (wanted.has(ours)) {
      const other = names.get(ours);
      if (other !== undefined) {
        throw new WeightError({
          path: `weight "${ours}"`,
          problem: 'duplicate name',
          expected: 'one of them',
          got: `"${other}" and "${name}"`,
        });
      }
      names.set(ours, name);
      found.set(ours, weight);
    } else if (tied !== undefined && wanted.has(tied)) {
      spare.set(tied, [...(spare.get(tied) ?? []), { name, weight }]);
    } else unknown.push(name);
  }
  for (const [path, weights] of spare) if (!found.has(path)) found.set(path, weights.shift()!.weight);
  return { found, spare, unknown };
}

function isWeight(x: unknown): x is Weight {
  if (typeof x === 'function') return true;
  if (typeof x !== 'object' || x === null) return false;
  const { dtype, dims, data, load } = x as Partial<Tensor & LazyTensor>;
  return dtypes.includes(dtype as DType) && Array.isArray(dims) && (typeof load === 'function' || ArrayBuffer.isView(data));
}

const shape = (dims: readonly number[]): string => `[${dims.join(', ')}]`;

const otherForm = 'Is it the checkpoint of this config? Weights in another layout can be converted by expressWeight';

function faultOf(path: string, want: ExpectedWeight, given: Weight): ErrorDetails | undefined {
  if (typeof given === 'function') return undefined;
  const problem = 'does not fit';
  const fault = (expected: string, got: string): ErrorDetails => ({
    path: `weight "${path}"`,
    problem,
    expected,
    got,
    hint: otherForm,
  });
  if (`${given.dims}` !== `${want.dims}`) return fault(`dims ${shape(want.dims)}`, shape(given.dims));
  if (want.dtype === undefined || given.dtype === want.dtype || (isFloat(given.dtype) && isFloat(want.dtype))) return undefined;
  return fault(want.dtype, given.dtype);
}

function asLazy(path: string, want: ExpectedWeight, weight: Weight): LazyTensor {
  if (typeof weight !== 'function') return isLazy(weight) ? weight : lazyTensor(weight);
  const { dims, dtype = 'float32' } = want;
  const load = async () => {
    const made = await weight();
    const wrong = faultOf(path, want, made);
    if (wrong) throw new WeightError(wrong);
    return castTensor(made, dtype);
  };
  return { dtype, dims, byteLength: bytesOf(dtype, countOf(dims)), load };
}

const tiedFault = (path: string, name: string, expected: string, got: string): ErrorDetails => ({
  path: `weight "${name}"`,
  problem: `it is tied to "${path}" in the model, but has different values in the checkpoint`,
  expected,
  got,
  hint: 'Build the model without tied embeddings, or remove one of the two from the weights',
});

function tiedDtype(path: string, given: Weight, { name, weight }: { readonly name: string; readonly weight: Weight }) {
  if (typeof given === 'function' || typeof weight === 'function' || given.dtype === weight.dtype) return undefined;
  return tiedFault(path, name, given.dtype, weight.dtype);
}

/** A weight that is compared with another one when it is loaded; their values must be equal. */
function sameAs(weight: LazyTensor, other: LazyTensor, path: string, name: string): LazyTensor {
  const checked = (a: Tensor, b: Tensor): Tensor => {
    const [x, y] = [bytesOfTensor(a), bytesOfTensor(b)];
    const at = x.length === y.length ? x.findIndex((byte, i) => byte !== y[i]) : 0;
    if (at < 0) return a;
    throw new WeightError(tiedFault(path, name, 'the same values', `a different value in byte ${at}`));
  };
  const [sync, otherSync] = [weight.loadSync, other.loadSync];
  return {
    ...weight,
    load: async (scratch) => checked(await weight.load(scratch), await other.load()),
    ...(sync && (otherSync ? { loadSync: () => checked(sync(), otherSync()) } : { loadSync: undefined })),
  } as LazyTensor;
}

function missingFault(path: string, want: ExpectedWeight, unknown: readonly string[]): ErrorDetails {
  const near = nearest(path, unknown);
  const hint = near
    ? `The weights contain an unused "${near}"`
    : 'Add it, or load the weights that match by matchWeights with partial: true';
  return { path: `weight "${path}"`, problem: 'missing', expected: `dims ${shape(want.dims)}`, got: 'nothing', hint };
}

function unknownFault(name: string, candidates: Iterable<string>): ErrorDetails {
  const near = nearest(name, candidates);
  const hint = near ? `Did you mean "${near}"?` : 'Remove it, or match it by matchWeights with a nameMap or partial: true';
  return { path: `weight "${name}"`, problem: 'unknown; the model has no weight of this name', got: describe(name), hint };
}

function raise(faults: readonly ErrorDetails[], total: number): void {
  const [fault, ...others] = faults;
  if (!fault) return;
  const named = others.slice(0, most - 1).map(({ path, problem }) => `${path} ${problem.split(';')[0]}`);
  const rest = total - 1 - named.length;
  const also = [...named, ...(rest > 0 ? [`${rest} more`] : [])].join(', ');
  throw new WeightError({ ...fault, ...(also && { hint: `${fault.hint ? `${fault.hint}. ` : ''}Also: ${also}` }) });
}
