// A session of the caller's runtime around a model: tensors in, tensors out.
import type { Model, Signature } from '../compile/compile';
import { serialize } from '../compile/serialize';
import { ConfigError, checkOptions, describe, FeedError, FileError, nearest, RunError } from '../error';
import { lackedBy, type RuntimeSupport } from '../lower/runtime-version';
import { toMemory } from '../onnx/encode';
import { allNodes, blockPathKey, type OnnxModel } from '../onnx/model';
import type { Tensor } from '../tensor/tensor';
import { untilAborted, within } from './abort';
import { checkTimeout, type DisposeOptions, lateError } from './dispose';
import { checkAssumptions, completeFeeds, type Feeds } from './feeds';
import { asOrt, fromOrtTensor, nameOfRuntime, type Ort, type OrtSession, type OrtTensor, toOrtTensor, versionOf } from './ort';
import { messageOf, type NodeInfo, translate } from './run-error';
import { type Provider, providerOf, runOptions, sessionOptions } from './session-options';

/** Elements that stand outside of a model's file: their bytes, or the path of a file with them. */
export interface ExternalFile {
  /** As the model names it. */
  readonly path: string;
  readonly data: Uint8Array | string;
}

/** What a runner needs to know of a model, in memory or loaded from a folder. */
export interface Runnable {
  readonly signature: Signature;
  /** Execution providers, in order of preference. */
  readonly providers: readonly string[];
  /** Path of a file, or the model's bytes. */
  readonly file: string | Uint8Array;
  /** What the file refers to, where the runtime does not find it by itself. */
  readonly external?: readonly ExternalFile[];
  readonly nodes: ReadonlyMap<string, NodeInfo>;
  readonly assumptions: readonly string[];
  /** Which versions of the runtime can run it on its own providers. */
  readonly runtimes: readonly RuntimeSupport[];
}

/** Options of {@link createRunner}. */
export interface RunnerOptions {
  /**
   * The execution provider, by name or with its options; default what the model was compiled for. `auto` tries those in turn, then the CPU; the
   * runner says what it got.
   */
  readonly device?: 'auto' | Provider;
  /** Handed to the runtime as they are; options without effect there are refused. */
  readonly session?: Readonly<Record<string, unknown>>;
}

/** Options of one run. */
export interface RunOptions {
  /** Only these outputs. */
  readonly outputs?: readonly string[];
  /** Drops the run if it has not begun; one that has is finished unseen. */
  readonly signal?: AbortSignal;
  /** Handed to the runtime; options without effect there are refused. */
  readonly run?: Readonly<Record<string, unknown>>;
}

/** Runs a model: `const { logits } = await run({ ids })`. Runs follow one another in the order of the calls. */
export interface Runner {
  (feeds: Feeds, options?: RunOptions): Promise<Record<string, Tensor>>;
  readonly signature: Signature;
  /** The execution provider that was loaded. */
  readonly device: string;
  /** What was tried before it, and why it did not work. */
  readonly refused: readonly { readonly device: string; readonly reason: string }[];
  /** Waits for the runs that were asked for and frees the session. Calling it again only waits again. */
  dispose(options?: DisposeOptions): Promise<void>;
}

/** What was loaded. */
export type Loaded = Pick<Runner, 'device' | 'refused'>;

/**
 * Creates a session and a function that runs it. In onnxruntime-node a run blocks the event loop; `createWorkerRunner` does not.
 *
 * Throws   ConfigError for an unknown option, or one that has no effect in the runtime · RunError when the runtime cannot load the provider or the model, with
 *          the block path of the node it names · WeightError for a model without weights
 *
 * Example  const run = await createRunner(model, ort);
 */
export async function createRunner(model: Model | Runnable, runtime: Ort, options: RunnerOptions = {}): Promise<Runner> {
  checkOptions('options', options, { device: true, session: true });
  const ort = asOrt(runtime);
  const runnable = 'file' in model ? model : await inMemory(model);
  const { session, device, refused } = await open(runnable, ort, options);
  const { signature, assumptions, nodes } = runnable;
  checkNames(signature, session);
  let runs = 0;
  let last: Promise<unknown> = Promise.resolve();
  let disposed: Promise<void> | undefined;

  const once = async (feeds: Feeds, o: RunOptions): Promise<Record<string, Tensor>> => {
    o.signal?.throwIfAborted();
    checkOptions('options', o, { outputs: true, signal: true, run: true });
    const all = completeFeeds(signature, feeds, runs);
    checkAssumptions(assumptions, signature, all);
    const fetches = checkOutputs(o.outputs, session.outputNames);
    const given = runOptions(ort, o.run);
    runs++;
    try {
      const inputs: Record<string, OrtTensor> = {};
      for (const name of session.inputNames) inputs[name] = toOrtTensor(ort, all[name]!);
      const results = await session.run(inputs, fetches, given);
      const named: Record<string, Tensor> = {};
      for (const name of fetches) named[name] = await fromOrtTensor(results[name]!);
      return named;
    } catch (error) {
      throw translate(error, 'the run', nodes);
    }
  };
  const run = (feeds: Feeds, o: RunOptions = {}): Promise<Record<string, Tensor>> => {
    if (disposed) return Promise.reject(new RunError({ path: 'runner', problem: 'it was disposed', hint: 'Create another' }));
    const result = last.then(() => once(feeds, o));
    // Its outputs are the caller's alone; the queue keeps none.
    last = result.then(nothing, nothing);
    return untilAborted(result, o.signal);
  };
  const dispose = async (o?: DisposeOptions): Promise<void> => {
    const timeout = checkTimeout(o, Number.POSITIVE_INFINITY);
    disposed ??= last.then(() => session.release());
    return within(disposed, timeout, () => {
      throw lateError(timeout, 'the session is freed once it has', 'Give dispose a longer timeout');
    });
  };
  return Object.assign(run, { signature, device, refused, dispose });
}

const nothing = (): void => {};

/** A model as a runner takes it, serialised in memory. Weights stay in arrays of their own, so that there is no limit to their sum. */
export async function inMemory(model: Model): Promise<Runnable> {
  const onnx = serialize(model);
  const { model: file, externalData: external } = await toMemory(onnx);
  return {
    signature: model.signature,
    providers: model.target.providers,
    file,
    external,
    nodes: nodeInfo(onnx),
    assumptions: model.assumptions,
    runtimes: model.runtimes,
  };
}

/** The nodes of a model by name. */
export function nodeInfo(onnx: OnnxModel): ReadonlyMap<string, NodeInfo> {
  const nodes = new Map<string, NodeInfo>();
  for (const { name, opType, metadata } of allNodes(onnx.graph))
    nodes.set(name, { path: metadata?.[blockPathKey] ?? '', op: opType, rules: metadata?.['onnxformers.rules'] ?? '' });
  return nodes;
}

async function open(runnable: Runnable, ort: Ort, o: RunnerOptions): Promise<Loaded & { readonly session: OrtSession }> {
  const options = { ...sessionOptions(ort, o.session) };
  const external = [...externalFiles(runnable, ort), ...((options.externalData as readonly unknown[] | undefined) ?? [])];
  if (external.length) options.externalData = external;
  const refused: { device: string; reason: string }[] = [];
  for (const executionProviders of wanted(runnable, ort, o.device)) {
    const names = executionProviders.map((p) => (typeof p === 'string' ? p : String(p.name)));
    try {
      if (names[0] === runnable.providers[0]) checkVersion(runnable, ort);
      const session = await ort.InferenceSession.create(runnable.file, { ...options, executionProviders });
      return { session, device: deviceOf(ort, names[0]!), refused };
    } catch (error) {
      if (o.device !== 'auto')
        throw translate(error, `creating a session on ${names.join(', ')}`, runnable.nodes, offer(ort, error));
      refused.push({ device: names.join(', '), reason: messageOf(error) });
    }
  }
  throw new RunError({
    path: 'runtime',
    problem: 'no provider could be loaded',
    got: refused.map((r) => `${r.device}: ${r.reason}`).join('; '),
  });
}

// A kernel that is missing would be a failure of the session, or a node that moves to the CPU unseen.
function checkVersion({ runtimes }: Runnable, ort: Ort): void {
  const version = versionOf(ort);
  const lacks = version === undefined ? [] : lackedBy(version, runtimes);
  if (!lacks.length) return;
  const able = runtimes.find((r) => !r.lacks.length)?.runtime;
  throw new RunError({
    path: 'runtime',
    problem: `${nameOfRuntime(ort)} ${version} lacks kernels that the model uses`,
    ...(able !== undefined && { expected: `ONNX Runtime ${able}` }),
    got: lacks.join('; '),
    hint: `Update the runtime, or compile with machine: { runtime: '${version}' }`,
  });
}

// In browsers the name of the CPU stands for WebAssembly.
const deviceOf = (ort: Ort, name: string): string => (name === 'cpu' && nameOfRuntime(ort) === 'onnxruntime-web' ? 'wasm' : name);

/** The lists of providers to be tried. */
function wanted(
  { providers }: Runnable,
  ort: Ort,
  device: RunnerOptions['device'],
): readonly (readonly ReturnType<typeof providerOf>[])[] {
  if (device !== undefined && device !== 'auto') return [[providerOf(ort, device)]];
  // Of a list the web runtime takes those that load and says nothing of the others.
  if (device === undefined) return [nameOfRuntime(ort) === 'onnxruntime-web' ? providers.slice(0, 1) : providers];
  return [...new Set([...providers, 'cpu'])].map((p) => [p]);
}

function externalFiles({ file, external = [] }: Runnable, ort: Ort): readonly ExternalFile[] {
  // Beside a model's own file onnxruntime-node finds them itself, and it takes no paths.
  return typeof file === 'string' && nameOfRuntime(ort) === 'onnxruntime-node' ? [] : external;
}

function offer(ort: Ort, error: unknown): string | undefined {
  if (!/backend not found|no available backend|not supported execution provider/i.test(messageOf(error))) return undefined;
  const names = ort.listSupportedBackends?.().map(({ name }) => name);
  const near = names && nearest(/\[([^\]]+)\] backend/.exec(messageOf(error))?.[1] ?? '', names);
  return names && `${near ? `Did you mean "${near}"? ` : ''}${nameOfRuntime(ort)} knows ${names.join(', ')}`;
}

// Only files that were changed after they were saved disagree.
function checkNames({ inputs }: Signature, session: OrtSession): void {
  const unknown = session.inputNames.find((name) => !inputs.some((p) => p.name === name));
  if (unknown !== undefined)
    throw new FileError({
      path: 'onnxformers.json',
      problem: `the model takes an input "${unknown}" that its description lacks`,
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
