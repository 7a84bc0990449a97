// Node only. A runner in a worker thread, so that the event loop stays free while a model runs.
import { createRequire } from 'node:module';
import { isAbsolute } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Worker, type WorkerOptions } from 'node:worker_threads';
import type { Model } from '../compile/compile';
import { ConfigError, checkOptions, describe, RunError } from '../error';
import { load } from '../saved/folder';
import type { DisposeOptions } from './dispose';
import { askToEnd, connectRunner } from './remote';
import { messageOf } from './run-error';
import { inMemory, type Runnable } from './runnable';
import type { Runner, RunnerOptions } from './runner';
import type { ThreadData } from './serve-thread';
import { awaitEnd, mayTerminate, newState, type ThreadState } from './thread-state';

/** Options of {@link createWorkerRunner}. */
export interface WorkerRunnerOptions extends RunnerOptions {
  /**
   * The runtime's module, which the thread imports: `onnxruntime-node`, or the URL of your own module that configures the runtime (for example
   * `env.wasm.numThreads`) and exports it.
   */
  readonly runtime: string | URL;
  /** Options of the thread; `script` is a script that calls `serveThread`, for programs whose bundler moves the library's own. */
  readonly thread?: Pick<WorkerOptions, 'execArgv' | 'env' | 'resourceLimits' | 'name'> & { readonly script?: URL };
}

/**
 * Like `createRunner`, in a worker thread: the event loop stays free during a run. Feeds are copied when a run is started. Runs are queued;
 * a run whose signal aborts is removed from the queue, or its results are discarded if it has begun. The thread keeps the process alive only while a request
 * is pending; `dispose` ends it.
 *
 * Native code cannot be interrupted: a thread with onnxruntime-node ends when the call of the runtime that it executes has returned. After the `timeout` of
 * `dispose` (10 s) nothing waits for that any more: unanswered runs reject, and `dispose` resolves. A process that exits during such a call exits when the call has
 * returned, with its own exit code. A thread with onnxruntime-web ends at once.
 *
 * Throws   the errors of `createRunner` and `load`, with their class and data · RunError when the runtime cannot be imported
 *          or the thread ends
 *
 * Example  const run = await createWorkerRunner('model', { runtime: 'onnxruntime-node' });
 *
 * @param model a compiled model, or the folder of a saved one
 */
export async function createWorkerRunner<I extends string = string, O extends string = string>(
  model: Model<I, O> | Runnable<I, O> | string,
  options: WorkerRunnerOptions,
): Promise<Runner<I, O>> {
  checkOptions('options', options, { runtime: true, thread: true, device: true, session: true, onProgress: true });
  const { runtime, thread = {}, ...rest } = options;
  checkOptions('options.thread', thread, { execArgv: true, env: true, resourceLimits: true, name: true, script: true });
  const { script = ownScript(), ...about } = thread;
  const specifier = specifierOf(runtime);
  const given = typeof model === 'string' ? await load(model) : 'file' in model ? model : await inMemory(model, rest.onProgress);
  const state = newState();
  const workerData: ThreadData = { runtime: specifier, state };
  const worker = new Worker(script, { ...about, workerData });
  const endThread = endsAtExit(worker, state);
  const port = {
    postMessage: (message: unknown, transfer: never) => worker.postMessage(message, transfer),
    addEventListener: (_: 'message', listener: (event: { data: unknown }) => void) =>
      void worker.on('message', (data: unknown) => listener({ data })),
  };
  const exited = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
  let forced = false;
  let force: (reason: Error) => void = () => {};
  const lost = new Promise<never>((_, reject) => {
    worker.once('error', (cause) =>
      reject(new RunError({ path: 'worker', problem: 'the thread failed', got: messageOf(cause) }, { cause })),
    );
    worker.once('exit', (code) =>
      reject(new RunError({ path: 'worker', problem: 'the thread ended', got: `exit code ${code}` })),
    );
    force = (reason) => {
      forced = true;
      reject(reason);
    };
  });
  let closing = false;
  const busy = (awaited: boolean) => (awaited || closing ? worker.ref() : worker.unref());
  const end = async (): Promise<void> => {
    endThread();
    worker.ref();
    await exited;
  };
  try {
    const runner = await connectRunner(given, port, rest, { lost, busy, end: force });
    const { signature, device, refused } = runner;
    const dispose = async (o?: DisposeOptions): Promise<void> => {
      closing = true;
      await runner.dispose(o).finally(() => {
        closing = false;
      });
      if (!forced) return end();
      // The thread may end long after this; it is not awaited.
      endThread();
      worker.unref();
    };
    const run = (...args: Parameters<Runner>) => runner(...args);
    return Object.assign(run, { signature, device, refused, dispose }) as unknown as Runner<I, O>;
  } catch (error) {
    await end();
    throw error;
  }
}

interface Ending {
  readonly state: ThreadState;
  /** Ends the thread as soon as that is possible without aborting the process. */
  readonly end: () => void;
}

/** The threads that have not ended. */
const living = new Set<Ending>();

// When the process exits, Node terminates all threads.
const endAll = (): void => {
  for (const { end } of living) end();
  for (const { state } of living) awaitEnd(state);
};

/** A function that ends the thread. It is also called when the process exits. */
function endsAtExit(worker: Worker, state: ThreadState): () => void {
  const end = (): void => {
    if (mayTerminate(state)) void worker.terminate();
    else askToEnd(worker);
  };
  const one: Ending = { state, end };
  if (living.size === 0) process.on('exit', endAll);
  living.add(one);
  worker.once('exit', () => {
    living.delete(one);
    if (living.size === 0) process.off('exit', endAll);
  });
  return end;
}

function specifierOf(runtime: unknown): string {
  if (runtime instanceof URL) return runtime.href;
  const hint = "Pass 'onnxruntime-node', or new URL('./my-runtime.js', import.meta.url)";
  if (typeof runtime !== 'string' || runtime === '')
    throw new ConfigError({
      path: 'options.runtime',
      problem: 'not a module',
      expected: 'the name or URL of a module',
      got: describe(runtime),
      hint,
    });
  if (runtime.startsWith('.'))
    throw new ConfigError({
      path: 'options.runtime',
      problem: 'a relative path cannot be resolved in another thread',
      expected: 'the name or URL of a module',
      got: describe(runtime),
      hint,
    });
  return isAbsolute(runtime) ? pathToFileURL(runtime).href : runtime;
}

/** The thread's script, next to this file: TypeScript, an ES module or CommonJS. */
function ownScript(): URL {
  const here = import.meta.url ?? pathToFileURL(__filename).href; // CommonJS has no import.meta
  const extension = /\.[^./]+$/.exec(here)?.[0] ?? '.js';
  const script = new URL(`./worker-thread${extension}`, here);
  return extension === '.ts' ? throughTsx(script, here) : script;
}

// In development the library runs from its sources, which a new thread cannot read by itself.
function throughTsx(script: URL, here: string): URL {
  // require() resolves to the CommonJS form, which does not find its own files from here.
  const api = createRequire(here)
    .resolve('tsx/esm/api')
    .replace(/\.cjs$/, '.mjs');
  const [tsx, source] = [pathToFileURL(api).href, script.href].map((url) => JSON.stringify(url));
  return new URL(
    `data:text/javascript,${encodeURIComponent(`import { tsImport } from ${tsx}; await tsImport(${source}, ${source});`)}`,
  );
}
