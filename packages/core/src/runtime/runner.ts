// Runs a model in a session of the caller's runtime.
import type { Model, Signature } from '../compile/compile';
import { ConfigError, checkOptions, describe, FeedError, FileError, nearest, RunError } from '../error';
import type { OnProgress } from '../progress';
import type { OutputsByName } from '../sequence/named-ports';
import type { Tensor, TensorData } from '../tensor/tensor';
import { untilAborted, within } from './abort';
import { prepareAssumptions } from './assumptions';
import { checkTimeout, type DisposeOptions, lateError } from './dispose';
import { type Feeds, prepareFeeds } from './feeds';
import { knownResults } from './known-results';
import { embeddedLimit, withFiles } from './large-weights';
import { type Opened, openSession, severity } from './open-session';
import {
  asOrt,
  fetchOrtTensor,
  forRuntime,
  fromOrtTensor,
  nameOfRuntime,
  type Ort,
  type OrtSession,
  type OrtTensor,
} from './ort';
import { translate } from './run-error';
import { inMemory, type Runnable } from './runnable';
import { type Provider, runOptions } from './session-options';

/** Options of {@link createRunner}. */
export interface RunnerOptions {
  /**
   * The execution provider, by name or with its options; default: those of the target. `auto` tries them in turn, then the CPU; the
   * runner reports which one it uses.
   */
  readonly device?: 'auto' | Provider;
  /**
   * Passed to the runtime unchanged; options without an effect there are refused. `logSeverityLevel` sets how much the runtime prints, from 0 (everything) over 2
   * (warnings) to 4 (fatal errors); default 3 (errors).
   */
  readonly session?: Readonly<Record<string, unknown>>;
  /** Called while weights are read and the session is opened, which takes seconds for a large model. */
  readonly onProgress?: OnProgress;
}

/** Options of one run. */
export interface RunOptions {
  /** Only these outputs. */
  readonly outputs?: readonly string[];
  /** Cancels the run if it has not begun; otherwise its results are discarded. */
  readonly signal?: AbortSignal;
  /** Passed to the runtime; options without an effect there are refused. */
  readonly run?: Readonly<Record<string, unknown>>;
}

/**
 * Runs a model: `const { logits } = await run({ ids })`. Runs follow one another in the order of the calls.
 *
 * Feeds are checked, and plain tensors copied, when a run is started: the caller can write to them immediately. Not copied are `past_key_values.*`, which are
 * results of earlier runs, and tensors of the runtime (`ort.Tensor`, also on a GPU): do not change those until the run has ended. For a tensor that is not in
 * CPU memory, dtype and dims are checked, but not its elements.
 *
 * A runner keeps the memory of its copies for later runs: as much as its large plain feeds (1 MiB and more) take.
 */
export interface Runner<I extends string = string, O extends string = string> {
  (feeds: Feeds<I>, options?: RunOptions): Promise<OutputsByName<O, Tensor>>;
  readonly signature: Signature;
  /** The execution provider that was loaded. */
  readonly device: string;
  /** Providers that were tried before it, and why they failed. */
  readonly refused: Opened['refused'];
  /** Waits for the runs that were started and frees the session. Calling it again only waits again. */
  dispose(options?: DisposeOptions): Promise<void>;
}

/** The provider that was loaded. */
export type Loaded = Pick<Runner, 'device' | 'refused'>;

/**
 * Creates a session and a function that runs it. In onnxruntime-node a run blocks the event loop; `createWorkerRunner` does not.
 *
 * Throws   ConfigError for an unknown option, or one that has no effect in the runtime · RunError when the runtime cannot load the provider or the model, with
 *          the block path of the node it names · WeightError for a model without weights
 *
 * Example  const run = await createRunner(model, ort);
 */
export async function createRunner<I extends string = string, O extends string = string>(
  model: Model<I, O> | Runnable<I, O>,
  runtime: Ort,
  options: RunnerOptions = {},
): Promise<Runner<I, O>> {
  checkOptions('options', options, { device: true, session: true, onProgress: true });
  const ort = asOrt(runtime);
  const { onProgress } = options;
  const whole = 'file' in model ? model : await inMemory(model, onProgress);
  const { signature, assumptions, nodes } = whole;
  const results = new WeakSet<TensorData>();
  const checkAssumed = prepareAssumptions(assumptions, signature, ({ data }) => results.has(data));
  const { runnable, close } = await withFiles(whole, embeddedLimit, onProgress);
  onProgress?.({ phase: 'session', fraction: 0 });
  // The runtime has read the files, or has them open; if the system cannot remove open files, they are removed at the end.
  const { session, device, refused } = await openSession(runnable, ort, options).finally(close);
  onProgress?.({ phase: 'session', fraction: 1 });
  checkNames(signature, session);
  let runs = 0;
  let last: Promise<unknown> = Promise.resolve();
  let disposed: Promise<void> | undefined;

  const table = prepareFeeds(signature);
  // In onnxruntime-web a run prints warnings whatever the session's level is.
  const printed = nameOfRuntime(ort) === 'onnxruntime-web' && {
    logSeverityLevel: options.session?.logSeverityLevel ?? severity,
  };
  const places = session.inputNames.map((name) => signature.inputs.findIndex((p) => p.name === name));
  // Filling a copy of an object with these names is faster than adding them one by one.
  const unfed: Readonly<Record<string, OrtTensor | undefined>> = blank(session.inputNames);
  const unknown: Readonly<Record<string, Tensor | undefined>> = blank(session.outputNames);

  /** Checks the arguments of a call and copies its feeds. */
  const prepare = (feeds: Feeds, o: RunOptions) => {
    o.signal?.throwIfAborted();
    checkOptions('options', o, { outputs: true, signal: true, run: true });
    const checked = table.complete(feeds);
    checkAssumed(checked);
    return {
      ...checked,
      fetches: checkOutputs(o.outputs, session.outputNames),
      given: { ...printed, ...runOptions(ort, o.run) },
    };
  };
  const once = async ({ tensors, handed, fetches, given }: ReturnType<typeof prepare>, signal: AbortSignal | undefined) => {
    signal?.throwIfAborted();
    table.number(tensors, runs++);
    const known = await knownResults(signature, { tensors: tensors as readonly Tensor[], handed }, fetches);
    if (known) return known;
    const named: Record<string, Tensor | undefined> = fetches === session.outputNames ? { ...unknown } : {};
    try {
      const inputs = { ...unfed };
      for (const at of places) inputs[signature.inputs[at]!.name] = forRuntime(ort, handed[at], tensors[at]!);
      const made = await session.run(inputs, fetches, given);
      for (const name of fetches) named[name] = fromOrtTensor(made[name]!) ?? (await fetchOrtTensor(made[name]!));
      if (assumptions.length) for (const name of fetches) results.add(named[name]!.data);
      return named as Record<string, Tensor>;
    } catch (error) {
      throw translate(error, 'the run', nodes);
    } finally {
      table.release(tensors, named);
    }
  };
  const run = async (feeds: Feeds, o: RunOptions = {}): Promise<Record<string, Tensor>> => {
    if (disposed) throw new RunError({ path: 'runner', problem: 'it was disposed', hint: 'Create another' });
    const prepared = prepare(feeds, o);
    const result = last.then(() => once(prepared, o.signal));
    // Only the caller has its outputs; the queue must not keep them.
    last = result.then(nothing, nothing);
    return untilAborted(result, o.signal);
  };
  const dispose = async (o?: DisposeOptions): Promise<void> => {
    const timeout = checkTimeout(o, Number.POSITIVE_INFINITY);
    disposed ??= last.then(() => session.release()).then(close);
    return within(disposed, timeout, () => {
      throw lateError(timeout, 'the session is freed once it has', 'Pass dispose a longer timeout');
    });
  };
  // Names are checked at run time; the types contain those that are known.
  return Object.assign(run, { signature, device, refused, dispose }) as unknown as Runner<I, O>;
}

const nothing = (): void => {};
const blank = (names: readonly string[]) => Object.fromEntries(names.map((name) => [name, undefined]));

// They can differ only if the files were changed after saving.
function checkNames({ inputs }: Signature, session: OrtSession): void {
  const unknown = session.inputNames.find((name) => !inputs.some((p) => p.name === name));
  if (unknown !== undefined)
    throw new FileError({
      path: 'onnxformers.json',
      problem: `the model has an input "${unknown}" that is missing from its description`,
      expected: session.inputNames.join(', '),
      got: inputs.map((p) => p.name).join(', ') || 'no inputs',
      hint: 'Save the model again',
    });
}

function checkOutputs(outputs: readonly string[] | undefined, names: readonly string[]): readonly string[] {
  if (outputs === undefined) return names;
  if (!Array.isArray(outputs) || outputs.length === 0)
    throw new ConfigError({
      path: 'options.outputs',
      problem: 'no outputs',
      expected: 'a list of names',
      got: describe(outputs),
      hint: `Outputs: ${names.join(', ')}`,
    });
  for (const name of outputs) {
    if (names.includes(name)) continue;
    const near = nearest(name, names);
    throw new FeedError({
      path: 'options.outputs',
      problem: `the model has no output "${name}"`,
      got: describe(name),
      hint: `${near ? `Did you mean "${near}"? ` : ''}Outputs: ${names.join(', ')}`,
    });
  }
  return [...new Set(outputs)];
}
