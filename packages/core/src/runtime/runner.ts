// A session of the caller's runtime around a model: tensors in, tensors out.
import type { Model, Signature } from '../compile';
import { describe, FeedError, nearest, RunError } from '../error';
import { blockPathKey, allNodes, type OnnxModel } from '../onnx/model';
import { toBytes } from '../onnx/encode';
import { serialize } from '../serialize';
import type { DType, Tensor, TensorData } from '../tensor';
import { completeFeeds, type Feeds } from './feeds';
import type { Ort, OrtSession, OrtTensor } from './ort';
import { type NodeInfo, translate } from './run-error';

/** What a runner needs to know of a model, in memory or loaded from a folder. */
export interface Runnable {
  readonly signature: Signature;
  /** Execution providers, in order of preference. */
  readonly providers: readonly string[];
  /** Path of a file, or the model's bytes. */
  readonly file: string | Uint8Array;
  readonly nodes: ReadonlyMap<string, NodeInfo>;
  readonly promises: readonly string[];
}

/** Options of {@link createRunner}. */
export interface RunnerOptions {
  /** Which execution provider; default what the model was compiled for. `auto` tries those in turn, then the CPU, and says what it got. */
  readonly device?: 'auto' | (string & {});
  /** Handed to the runtime as they are; options without effect there are refused. */
  readonly session?: Readonly<Record<string, unknown>>;
}

/** Options of one run. */
export interface RunOptions {
  /** Only these outputs. */
  readonly outputs?: readonly string[];
  /** Handed to the runtime. */
  readonly run?: object;
}

/** Runs a model: `const { logits } = await run({ ids })`. */
export interface Runner {
  (feeds: Feeds, options?: RunOptions): Promise<Record<string, Tensor>>;
  readonly signature: Signature;
  /** The execution provider that was loaded. */
  readonly device: string;
  /** What was tried before it, and why it did not work. */
  readonly refused: readonly { readonly device: string; readonly reason: string }[];
  dispose(): Promise<void>;
}

/** Options that the runtimes take and ignore; naming one is a mistake, not a wish. */
const withoutEffect: Readonly<Record<string, string>> = {
  freeDimensionOverrides: 'onnxruntime-node ignores it',
  enableGraphCapture: 'onnxruntime-node ignores it',
};

/**
 * Creates a session and a function that runs it.
 *
 * Throws   RunError when the runtime cannot load the provider or the model, with the block path of the node it names
 *
 * Example  const run = await createRunner(model, ort);
 */
export async function createRunner(model: Model | Runnable, ort: Ort, options: RunnerOptions = {}): Promise<Runner> {
  const runnable = 'file' in model ? model : await inMemory(model);
  const { session, device, refused } = await open(runnable, ort, options);
  let runs = 0;
  let disposed = false;
  const run = async (feeds: Feeds, o: RunOptions = {}): Promise<Record<string, Tensor>> => {
    if (disposed) throw new RunError({ path: 'runner', problem: 'it was disposed', hint: 'Create another' });
    const all = completeFeeds(runnable.signature, feeds, runs++);
    checkPromises(runnable.promises, feeds);
    const fetches = o.outputs && checkOutputs(o.outputs, session.outputNames);
    const inputs: Record<string, OrtTensor> = {};
    for (const name of session.inputNames) inputs[name] = toOrt(ort, all[name]!);
    try {
      const results = await (fetches ? session.run(inputs, fetches, o.run) : o.run ? session.run(inputs, session.outputNames, o.run) : session.run(inputs));
      const named = await Promise.all(Object.entries(results).map(async ([name, t]) => [name, await fromOrt(t)] as const));
      return Object.fromEntries(named);
    } catch (error) {
      throw translate(error, 'the run', runnable.nodes);
    }
  };
  const dispose = async () => {
    if (disposed) return;
    disposed = true;
    await session.release();
  };
  return Object.assign(run, { signature: runnable.signature, device, refused, dispose });
}

/** A model as a runner takes it, serialised in memory. */
export async function inMemory(model: Model): Promise<Runnable> {
  const onnx = serialize(model);
  return { signature: model.signature, providers: model.target.providers, file: await toBytes(onnx), nodes: nodeInfo(onnx), promises: model.promises };
}

/** The nodes of a model by name. */
export function nodeInfo(onnx: OnnxModel): ReadonlyMap<string, NodeInfo> {
  const nodes = new Map<string, NodeInfo>();
  for (const { name, opType, metadata } of allNodes(onnx.graph)) nodes.set(name, { path: metadata?.[blockPathKey] ?? '', op: opType, rules: metadata?.['onnxformers.rules'] ?? '' });
  return nodes;
}

async function open(runnable: Runnable, ort: Ort, o: RunnerOptions): Promise<Pick<Runner, 'device' | 'refused'> & { session: OrtSession }> {
  for (const key of Object.keys(o.session ?? {})) {
    const why = withoutEffect[key];
    if (why && ort.listSupportedBackends) throw new RunError({ path: `session.${key}`, problem: 'the option has no effect', got: describe(o.session![key]), hint: `${why}; leave it out` });
  }
  const wanted = o.device === undefined ? [runnable.providers] : o.device === 'auto' ? [...runnable.providers.map((p) => [p]), ['cpu']] : [[o.device]];
  const refused: { device: string; reason: string }[] = [];
  for (const providers of wanted) {
    try {
      const session = await ort.InferenceSession.create(runnable.file, { executionProviders: [...providers], ...o.session });
      return { session, device: providers[0] ?? 'cpu', refused };
    } catch (error) {
      if (o.device !== 'auto') throw translate(error, `creating a session on ${providers.join(', ')}`, runnable.nodes);
      refused.push({ device: providers.join(', '), reason: error instanceof Error ? error.message : String(error) });
    }
  }
  throw new RunError({ path: 'runner', problem: 'no provider could be loaded', got: refused.map((r) => `${r.device}: ${r.reason}`).join('; ') });
}

// `whole prompts`: more than one new row only where nothing is held, or for a batch of one.
function checkPromises(promises: readonly string[], feeds: Feeds): void {
  if (!promises.includes('whole prompts')) return;
  const rows = Object.entries(feeds).find(([name, t]) => (name === 'ids' || name === 'x') && t.dims.length >= 2)?.[1];
  const held = Object.entries(feeds).some(([name, t]) => (name === 'held' ? [...(t.data as ArrayLike<number | bigint> as BigInt64Array)].some((n) => n !== 0n) : name.startsWith('past_key_values.') && !('held' in feeds) && (t.dims[2] ?? 0) > 0));
  if (rows && (rows.dims[1] ?? 1) > 1 && (rows.dims[0] ?? 1) > 1 && held)
    throw new FeedError({ path: 'feeds', problem: 'the model was compiled on the promise that prompts come whole', expected: 'one new row per sequence once something is held', got: `${rows.dims[1]} new rows for a batch of ${rows.dims[0]}`, hint: 'Compile without that promise' });
}

function checkOutputs(outputs: readonly string[], names: readonly string[]): readonly string[] {
  for (const name of outputs)
    if (!names.includes(name)) {
      const near = nearest(name, names);
      throw new FeedError({ path: 'outputs', problem: `the model has no output "${name}"`, got: describe(name), hint: `${near ? `Did you mean "${near}"? ` : ''}Outputs: ${names.join(', ')}` });
    }
  return outputs;
}

function toOrt(ort: Ort, t: Tensor): OrtTensor {
  return new ort.Tensor(t.dtype, t.data, t.dims);
}

async function fromOrt(t: OrtTensor): Promise<Tensor> {
  const data = (t.getData && t.location !== undefined && t.location !== 'cpu' ? await t.getData(true) : t.data) as TensorData;
  // Where JavaScript has a Float16Array the runtime may hand one out; ours are bit patterns.
  const bits = t.type === 'float16' && !(data instanceof Uint16Array) ? new Uint16Array((data as Float32Array).buffer, (data as Float32Array).byteOffset, (data as Float32Array).length) : data;
  return { dtype: t.type as DType, dims: [...t.dims], data: bits };
}
