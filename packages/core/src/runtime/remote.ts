// The messages of a runner in another thread. They depend on ports, not on threads, so browsers and Node share them.
import { checkArguments } from '../arguments';
import type { Model, Signature } from '../compile/compile';
import { ConfigError, FeedError, internal, RunError } from '../error';
import type { OnProgress, Progress } from '../progress';
import type { Tensor, TensorData } from '../tensor/tensor';
import { untilAborted, within } from './abort';
import { type CarriedError, packError, unpackError } from './carried-error';
import { checkTimeout, type DisposeOptions, lateError } from './dispose';
import { type Feeds, prepareFeeds } from './feeds';
import { isAway, type Ort } from './ort';
import { inMemory, type Runnable } from './runnable';
import { createRunner, type Loaded, type Runner, type RunnerOptions, type RunOptions } from './runner';

/** One end of a channel between two threads: a Web Worker, its `self`, or a MessagePort. */
export interface ThreadPort {
  /** Sends a message; objects in `transfer` are moved instead of copied. */
  // biome-ignore lint/suspicious/noExplicitAny: the ports of browsers and of Node differ in what they may transfer
  postMessage(message: any, transfer?: any): void;
  /** Listens for messages. */
  // biome-ignore lint/suspicious/noExplicitAny: a message is anything
  addEventListener(type: 'message', listener: (event: any) => void): void;
  /** Starts to deliver messages, if the port does not do so by itself. */
  start?(): void;
}

/** Feeds that belong to this thread, as tensors of the runtime, which a runner does not copy. */
const asReceived = (feeds: Readonly<Record<string, Tensor>>): Feeds =>
  Object.fromEntries(
    Object.entries(feeds).map(([name, { dtype, dims, data }]) => [name, { type: dtype, dims, data, location: 'cpu' }]),
  );

type Question =
  | {
      readonly type: 'open';
      readonly model: Runnable;
      readonly options: Omit<RunnerOptions, 'onProgress'>;
      readonly progress: boolean;
    }
  | { readonly type: 'run'; readonly feeds: Readonly<Record<string, Tensor>>; readonly options: Omit<RunOptions, 'signal'> }
  | { readonly type: 'close' };
/** Asks for no answer, and does not wait for earlier questions. */
type End = { readonly type: 'end' };
type Answer =
  | { readonly type: 'opened'; readonly loaded: Loaded }
  | { readonly type: 'ran'; readonly outputs: Record<string, Tensor> }
  | { readonly type: 'closed' }
  | { readonly type: 'failed'; readonly error: CarriedError };

type Word = Answer | { readonly type: 'progress'; readonly progress: Progress };

/** Calls f with each message. */
function listen(port: ThreadPort, f: (message: never) => void): void {
  port.addEventListener('message', ({ data }: { readonly data: never }) => f(data));
  port.start?.();
}

// Only the viewed part of a buffer is sent.
function alone<T extends TensorData>(data: T): T {
  return data.byteLength === data.buffer.byteLength && data.buffer instanceof ArrayBuffer ? data : (data.slice() as T);
}
const buffersOf = (tensors: Readonly<Record<string, Tensor>>): ArrayBufferLike[] => [
  ...new Set(Object.values(tensors).map(({ data }) => data.buffer)),
];

/**
 * Runs one runner for the other end of a port. The script of a Web Worker:
 *
 *     import * as ort from 'onnxruntime-web/wasm';
 *     import { serveRunner } from '@onnxformers/core';
 *     serveRunner(self, ort);
 *
 * @param runtime the runtime, or a function that imports it, whose errors are sent to the other side
 * @param closed called when the other end has closed the runner, or wants the thread to end: end the thread
 */
export function serveRunner(port: ThreadPort, runtime: Ort | (() => Promise<Ort>), closed: () => void = () => {}): void {
  checkArguments('serveRunner', { port, runtime });
  let runner: Runner | undefined;
  let unanswered = 0;
  const answer = async (question: Question): Promise<Answer> => {
    if (question.type === 'open') {
      const { model, options, progress } = question;
      const onProgress = (about: Progress): void => port.postMessage({ type: 'progress', progress: about });
      const ort = typeof runtime === 'function' ? await runtime() : runtime;
      runner = await createRunner(model, ort, { ...options, ...(progress && { onProgress }) });
      return { type: 'opened', loaded: { device: runner.device, refused: runner.refused } };
    }
    if (question.type === 'run') return { type: 'ran', outputs: await runner!(asReceived(question.feeds), question.options) };
    await runner?.dispose();
    return { type: 'closed' };
  };
  const end = async (): Promise<void> => {
    // With a question unanswered, the runner waits for its run, which may never end. JavaScript is executed here, so native code is not.
    if (unanswered === 0) await runner?.dispose().catch(() => {});
    closed();
  };
  listen(port, async (question: Question | End) => {
    if (question.type === 'end') return end();
    unanswered++;
    const given = await answer(question).catch((error: unknown): Answer => ({ type: 'failed', error: packError(error) }));
    unanswered--;
    if (given.type === 'ran') {
      const outputs = Object.fromEntries(Object.entries(given.outputs).map(([name, t]) => [name, { ...t, data: alone(t.data) }]));
      port.postMessage({ ...given, outputs }, buffersOf(outputs));
    } else port.postMessage(given);
    if (question.type === 'close') closed();
  });
}

/** Asks the other end to end its thread as soon as it executes JavaScript, also if runs have not been answered. */
export function askToEnd(port: Pick<ThreadPort, 'postMessage'>): void {
  const message: End = { type: 'end' };
  port.postMessage(message);
}

/** Options of the calling side. */
export interface Thread {
  /** Rejects when the thread has ended. */
  readonly lost?: Promise<never>;
  /** Called with true when an answer becomes pending, and with false when none is. */
  busy?(awaited: boolean): void;
  /** Called when a run has not ended within the timeout of `dispose`: ends the thread, and lets `lost` reject with this error. */
  end?(reason: Error): void;
}

/** Sends one request at a time, in the order of the calls. */
function asker(port: ThreadPort, { lost, busy }: Thread, onProgress?: OnProgress) {
  // Released with each answer: Promise.race with `lost`, which lives as long as the thread, would keep every answer in memory.
  let pending: { readonly resolve: (answer: Answer) => void; readonly reject: (reason: unknown) => void } | undefined;
  let gone: { readonly reason: unknown } | undefined;
  let last: Promise<void> = Promise.resolve();
  let waiting = 0;
  lost?.catch((reason: unknown) => {
    gone = { reason };
    pending?.reject(reason);
  });
  listen(port, (word: Word) => {
    if (word.type !== 'progress') pending?.resolve(word);
    else
      try {
        onProgress?.(word.progress);
      } catch (error) {
        pending?.reject(error);
      }
  });
  const post = (message: Question, transfer: readonly ArrayBufferLike[]) => {
    try {
      port.postMessage(message, transfer);
    } catch (cause) {
      throw new ConfigError(
        {
          path: 'options',
          problem: 'they cannot be sent to another thread',
          expected: 'plain data',
          got: (cause as Error).message,
        },
        { cause },
      );
    }
  };
  const ask = <T extends Answer['type']>(
    type: T,
    question: () => Question,
    transfer: (q: Question) => readonly ArrayBufferLike[],
  ): Promise<Extract<Answer, { type: T }>> => {
    if (waiting++ === 0) busy?.(true);
    const one = last.then(async () => {
      if (gone) throw gone.reason;
      const asked = question();
      const answer = new Promise<Answer>((resolve, reject) => {
        pending = { resolve, reject };
      });
      try {
        post(asked, transfer(asked));
        const given = await answer;
        if (given.type === 'failed') throw unpackError(given.error);
        if (given.type !== type) throw internal(`the thread answered ${given.type} instead of ${type}`);
        return given as Extract<Answer, { type: T }>;
      } finally {
        pending = undefined;
      }
    });
    const done = () => {
      if (--waiting === 0) busy?.(false);
    };
    last = one.then(done, done);
    return one;
  };
  return { ask, isGone: () => gone !== undefined };
}

/**
 * A runner whose runs are executed at the other end of a port by `serveRunner`: the event loop on this side stays free. Feeds are copied
 * when a run is started. Runs are queued; a run whose signal aborts is removed from the queue, or its results are discarded if it has begun.
 *
 *     const worker = new Worker(new URL('./runner-worker.ts', import.meta.url), { type: 'module' });
 *     const run = await connectRunner(model, worker);
 *
 * Throws   the errors of `createRunner`, with their class and data
 */
export async function connectRunner(
  model: Model | Runnable,
  port: ThreadPort,
  o: RunnerOptions = {},
  thread: Thread = {},
): Promise<Runner> {
  checkArguments('connectRunner', { model, port, 'options?': o, 'thread?': thread });
  const { onProgress, ...options } = o;
  const runnable = 'file' in model ? model : await inMemory(model, onProgress);
  const asking = asker(port, thread, onProgress);
  const { loaded } = await asking.ask(
    'opened',
    () => ({ type: 'open', model: portable(runnable), options, progress: onProgress !== undefined }),
    (q) => (q.type === 'open' ? memoryOf(q.model) : []),
  );
  return remoteRunner(runnable.signature, loaded, asking, thread);
}

// A copy, because a transfer would take the weights from the caller.
function portable(model: Runnable): Runnable {
  const { signature, providers, file, external = [], nodes, assumptions, runtimes } = model;
  const copied = <T extends Uint8Array | string>(data: T): T => (typeof data === 'string' ? data : (data.slice() as T));
  return {
    signature,
    providers,
    file: copied(file),
    external: external.map(({ path, data }) => ({ path, data: copied(data) })),
    nodes,
    assumptions,
    runtimes,
  };
}
const memoryOf = ({ file, external = [] }: Runnable): ArrayBufferLike[] =>
  [file, ...external.map(({ data }) => data)].flatMap((data) => (typeof data === 'string' ? [] : [data.buffer]));

/** How long `dispose` waits for a thread that it can end, in milliseconds. */
const patience = 10_000;

function remoteRunner(signature: Signature, loaded: Loaded, { ask, isGone }: ReturnType<typeof asker>, { end }: Thread): Runner {
  let disposed: Promise<void> | undefined;
  const table = prepareFeeds(signature);
  const run = async (feeds: Feeds, o: RunOptions = {}): Promise<Record<string, Tensor>> => {
    if (disposed) throw new RunError({ path: 'runner', problem: 'it was disposed', hint: 'Create another' });
    const { signal, ...options } = o;
    signal?.throwIfAborted();
    const { tensors, handed } = table.check(feeds);
    const copies: Record<string, Tensor> = {};
    for (const [at, { name }] of signature.inputs.entries()) {
      const tensor = tensors[at];
      if (isAway(handed[at]))
        throw new FeedError({
          path: `feed "${name}"`,
          problem: 'it cannot be sent to another thread',
          expected: 'a tensor in CPU memory',
          got: 'a tensor in other memory',
        });
      if (tensor) copies[name] = { dtype: tensor.dtype, dims: [...tensor.dims], data: tensor.data.slice() as TensorData };
    }
    const question = (): Question => {
      signal?.throwIfAborted();
      return { type: 'run', feeds: copies, options };
    };
    const { outputs } = await untilAborted(
      ask('ran', question, () => buffersOf(copies)),
      signal,
    );
    return outputs;
  };
  const close = (): Promise<void> =>
    ask(
      'closed',
      () => ({ type: 'close' }),
      () => [],
    ).then(
      () => {},
      (error: unknown) => {
        // A thread that has ended needs no closing.
        if (!isGone()) throw error;
      },
    );
  const dispose = async (o?: DisposeOptions): Promise<void> => {
    const timeout = checkTimeout(o, end ? patience : Number.POSITIVE_INFINITY);
    disposed ??= close();
    return within(disposed, timeout, () => {
      if (!end) throw lateError(timeout, 'it was not freed', 'End its thread yourself, or give dispose a longer timeout');
      end(lateError(timeout, 'its result is discarded', 'Pass dispose a longer timeout'));
    });
  };
  return Object.assign(run, { signature, ...loaded, dispose });
}
