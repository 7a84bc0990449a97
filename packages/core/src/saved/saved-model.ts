// The description of a saved model: everything that the ONNX file does not contain.
import type { Model, Signature } from '../compile/compile';
import { toConfig } from '../config/to-config';
import { dim } from '../dim/dim';
import { ConfigError, describe, FileError } from '../error';
import { type Assumption, isAssumption, assumptions as knownAssumptions } from '../ir/assumption';
import { type Derivation, derivations } from '../ir/graph';
import type { Decision } from '../lower/decision';
import type { RuntimeSupport } from '../lower/runtime-version';
import type { Machine } from '../lower/target';
import { modulesOf } from '../module/module';
import { type DType, dtypes } from '../tensor/tensor';

/** Format of the file; a reader refuses newer ones. */
export const formatVersion = 3;

/** The content of `onnxformers.json`. */
export interface SavedModel {
  readonly format: number;
  readonly target: string;
  readonly providers: readonly string[];
  readonly machine: Machine;
  readonly runtimes: readonly RuntimeSupport[];
  readonly dtype: string;
  /** The config of the module; absent if it was not made from one. */
  readonly config?: Readonly<Record<string, unknown>>;
  readonly signature: Signature;
  readonly assumptions: readonly Assumption[];
  readonly decisions: readonly Decision[];
}

/** The text of `onnxformers.json`. */
export function describeModel(model: Model): string {
  const config = configOf(model);
  const saved: SavedModel = {
    format: formatVersion,
    target: model.target.name,
    providers: model.target.providers,
    machine: model.machine,
    runtimes: model.runtimes,
    dtype: model.dtype,
    ...(config && { config }),
    signature: model.signature,
    assumptions: model.assumptions,
    decisions: model.decisions,
  };
  return `${JSON.stringify(saved, null, 2)}\n`;
}

// A module that no block made, whose parameters are computed from others, or whose config contains a function, has no config; the model runs without it.
function configOf(model: Model): Readonly<Record<string, unknown>> | undefined {
  if (modulesOf(model.module).some(({ item }) => item.about.dropped !== undefined)) return undefined;
  try {
    return JSON.parse(JSON.stringify(toConfig(model.module)));
  } catch (error) {
    if (error instanceof ConfigError) return undefined;
    throw error;
  }
}

/**
 * Reads the text of `onnxformers.json`.
 *
 * Throws   FileError when it is not JSON, of a newer format, or lacks the signature
 */
export function readDescription(text: string, path: string): SavedModel {
  let saved: Partial<SavedModel>;
  try {
    saved = JSON.parse(text) as Partial<SavedModel>;
  } catch (error) {
    throw new FileError({ path, problem: 'not JSON', got: describe(text), hint: 'Save the model again' }, { cause: error });
  }
  const fault = (problem: string, expected: string, got: unknown): FileError =>
    new FileError({ path, problem, expected, got: describe(got), hint: 'Save the model again' });
  if (!isRecord(saved)) throw fault('not the description of a model', 'an object with a format', saved);
  const { format, signature, providers, assumptions = [], decisions = [], machine = {}, runtimes = [] } = saved;
  // Format 1 had no roles of inputs, so nothing could be checked.
  if (!Number.isSafeInteger(format) || (format as number) < formatVersion)
    throw fault('not a format that can be read', `format ${formatVersion}`, format);
  if ((format as number) > formatVersion)
    throw new FileError({
      path,
      problem: 'saved in a newer format',
      expected: `format ${formatVersion} or older`,
      got: `format ${format}`,
      hint: 'Update onnxformers',
    });
  const lists = [signature?.inputs, signature?.outputs];
  if (!lists.every(Array.isArray)) throw fault('the signature is damaged', 'lists of inputs and outputs', signature);
  for (const port of lists.flat())
    if (!isPort(port)) throw fault('the signature is damaged', 'inputs and outputs with name, dtype and dims', port);
  if (signature?.limits !== undefined && !(Array.isArray(signature.limits) && signature.limits.every(isLimit)))
    throw fault('the limits are damaged', 'a list of limits with an input or a size, bounds and a problem', signature.limits);
  if (!isTexts(providers)) throw fault('the providers are damaged', 'a list of names', providers);
  if (!isTexts(assumptions)) throw fault('the assumptions are damaged', 'a list of strings', assumptions);
  const unknown = assumptions.find((name) => !isAssumption(name));
  if (unknown !== undefined)
    throw new FileError({
      path,
      problem: 'the model was compiled on an assumption that the runner does not know',
      expected: knownAssumptions.map((name) => describe(name)).join(' or '),
      got: describe(unknown),
      hint: 'Update onnxformers, or save the model again',
    });
  if (!Array.isArray(decisions) || !decisions.every(isDecision))
    throw fault('the decisions are damaged', 'what was chosen and refused for each node', decisions);
  if (!Array.isArray(runtimes) || !runtimes.every(isSupport))
    throw fault('the versions of the runtime are damaged', 'a list of { runtime, lacks }', runtimes);
  if (!isRecord(machine)) throw fault('the machine is damaged', 'an object', machine);
  return { target: '', dtype: 'float32', ...saved, assumptions, decisions, machine, runtimes } as unknown as SavedModel;
}

const isRecord = (x: unknown): x is Readonly<Record<string, unknown>> => typeof x === 'object' && x !== null && !Array.isArray(x);
const isSupport = (s: unknown): boolean => isRecord(s) && typeof s.runtime === 'string' && isTexts(s.lacks);
const isTexts = (x: unknown): boolean => Array.isArray(x) && x.every((t) => typeof t === 'string');

function isDecision(d: unknown): boolean {
  if (!isRecord(d) || !isTexts([d.path, d.op, d.chosen]) || !isTexts(d.kernels)) return false;
  const { notes, refused, where = '' } = d;
  if (typeof where !== 'string') return false;
  if (!Array.isArray(notes) || !notes.every(isReason) || !Array.isArray(refused)) return false;
  return refused.every((r) => isRecord(r) && typeof r.rule === 'string' && isReason(r.reason));
}

const isReason = (r: unknown): boolean => isRecord(r) && isTexts([r.code, r.text]) && isRecord(r.data);

function isPort(p: unknown): boolean {
  if (!isRecord(p) || typeof p.name !== 'string' || !dtypes.includes(p.dtype as DType)) return false;
  if (p.role !== undefined && typeof p.role !== 'string') return false;
  if (p.continues !== undefined && !isContinuation(p.continues)) return false;
  return Array.isArray(p.dims) && p.dims.every(isSize) && (p.derived === undefined || isDerived(p.derived));
}

const isContinuation = (c: unknown): boolean => isRecord(c) && typeof c.input === 'string' && isSize(c.rows);

function isLimit(l: unknown): boolean {
  if (!isRecord(l) || typeof l.problem !== 'string') return false;
  if ((typeof l.input === 'string') === isSize(l.size)) return false;
  return [l.min, l.max].every((d) => d === undefined || isSize(d));
}

function isDerived(d: unknown): boolean {
  if (!isRecord(d) || !derivations.includes(d.how as Derivation) || !isTexts(d.from)) return false;
  return (d.plus === undefined || isSize(d.plus)) && (d.pool === undefined || isRecord(d.pool));
}

function isSize(d: unknown): boolean {
  if (typeof d !== 'number' && typeof d !== 'string') return false;
  try {
    dim(d);
    return true;
  } catch {
    return false;
  }
}
