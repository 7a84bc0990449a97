// Node only. The code in the thread of a worker runner.
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parentPort, workerData } from 'node:worker_threads';
import { RunError } from '../error';
import { asOrt, nameOfRuntime, type Ort } from './ort';
import { serveRunner } from './remote';
import { messageOf } from './run-error';
import { announceEnd, beginNative, endNative, type ThreadState } from './thread-state';

/** What `createWorkerRunner` hands to its thread. */
export interface ThreadData {
  /** The name or URL of the runtime's module. */
  readonly runtime: string;
  readonly state: ThreadState;
}

/**
 * Runs one runner for `createWorkerRunner`. The whole content of a script of your own, for programs whose bundler moves the library's script:
 *
 *     import { serveThread } from '@onnxformers/core/node';
 *     serveThread();
 */
export function serveThread(): void {
  const port = parentPort!;
  const { runtime, state } = workerData as ThreadData;
  process.once('exit', () => announceEnd(state));
  serveRunner(
    {
      postMessage: (message, transfer) => port.postMessage(message, transfer),
      addEventListener: (_, listener) => void port.on('message', (data) => listener({ data })),
    },
    async () => {
      if (!beginNative(state)) process.exit();
      const ort = await importRuntime(runtime);
      if (nameOfRuntime(ort) === 'onnxruntime-web') endNative(state);
      return ort;
    },
    () => process.exit(),
  );
}

/** Resolved from this package, of which the runtime is a peer, otherwise from the folder of the program. */
async function importRuntime(runtime: string): Promise<Ort> {
  try {
    return asOrt(
      await import(runtime).catch(
        () => import(pathToFileURL(createRequire(join(process.cwd(), 'main.js')).resolve(runtime)).href),
      ),
    );
  } catch (cause) {
    if (cause instanceof Error && 'problem' in cause) throw cause;
    throw new RunError(
      { path: 'runtime', problem: `${runtime} cannot be imported`, got: messageOf(cause), hint: `npm install ${runtime}` },
      { cause },
    );
  }
}
