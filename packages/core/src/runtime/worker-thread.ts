// Node only. The code in the thread of a worker runner.
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parentPort, workerData } from 'node:worker_threads';
import { RunError } from '../error';
import { asOrt, type Ort } from './ort';
import { serveRunner } from './remote';
import { messageOf } from './run-error';

const { runtime } = workerData as { readonly runtime: string };

/** Resolved from this package, of which the runtime is a peer, otherwise from the folder of the program. */
async function importRuntime(): Promise<Ort> {
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

const port = parentPort!;
serveRunner(
  {
    postMessage: (message, transfer) => port.postMessage(message, transfer),
    addEventListener: (_, listener) => void port.on('message', (data) => listener({ data })),
  },
  importRuntime,
  () => port.close(),
);
