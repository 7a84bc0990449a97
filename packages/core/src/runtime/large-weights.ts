// Weights too large for the runtime's memory interface are passed by temporary files, which are removed with the session.

import { FileError } from '../error';
import { printBytes } from '../onnx/print';
import { counter, type OnProgress } from '../progress';
import type { Runnable } from './runnable';

/** The largest weight that onnxruntime-node accepts from memory; from files there is no limit. */
export const embeddedLimit = 2 ** 31;

/** Bytes that one system call writes at most. */
const pieceBytes = 2 ** 26;

/** The parts of Node that are used. Not imported, because browsers load this file too. */
interface Files {
  mkdtemp(prefix: string): Promise<string>;
  rm(path: string, options: { recursive: true; force: true }): Promise<void>;
  open(
    path: string,
    flags: string,
  ): Promise<{ write(bytes: Uint8Array): Promise<{ bytesWritten: number }>; close(): Promise<void> }>;
}
type Builtin = (name: 'node:fs/promises' | 'node:os' | 'node:path') => unknown;

/** A model that can be opened, and a function to call when its session has been freed. */
export interface Openable {
  readonly runnable: Runnable;
  /** Removes the files, if the system allows it already. */
  close(): Promise<void>;
}

/**
 * The model itself if the runtime can read each of its weights from memory. Otherwise a copy in a temporary folder (of the system, `TMPDIR`): the runtime
 * reads either all weights from memory or none.
 *
 * @throws FileError when the folder cannot be written, or if there are no files
 */
export async function withFiles(runnable: Runnable, limit: number, onProgress?: OnProgress): Promise<Openable> {
  const { file, external = [] } = runnable;
  const largest = external.reduce((most, { data }) => (typeof data === 'string' ? most : Math.max(most, data.byteLength)), 0);
  if (largest <= limit || typeof file === 'string') return { runnable, close: async () => {} };
  const builtin = (globalThis as { readonly process?: { readonly getBuiltinModule?: Builtin } }).process?.getBuiltinModule;
  if (!builtin)
    throw new FileError({
      path: 'runtime',
      problem: 'a weight is too large for the runtime, and it cannot be passed by a file here',
      expected: `at most ${printBytes(limit)} a weight`,
      got: printBytes(largest),
    });
  const { tmpdir } = builtin('node:os') as { tmpdir(): string };
  const { join } = builtin('node:path') as { join(...parts: string[]): string };
  const files = builtin('node:fs/promises') as Files;
  const all = [
    { path: 'model.onnx', data: file },
    ...external.flatMap(({ path, data }) => (typeof data === 'string' ? [] : [{ path, data }])),
  ];
  const bytes = all.reduce((n, { data }) => n + data.byteLength, 0);
  const moved = counter('write', bytes, onProgress);
  let folder: string | undefined;
  const close = async (): Promise<void> => {
    if (folder !== undefined) await files.rm(folder, { recursive: true, force: true }).catch(() => {});
  };
  try {
    folder = await files.mkdtemp(join(tmpdir(), 'onnxformers-'));
    for (const { path, data } of all) await write(files, join(folder, path), data, moved);
    return { runnable: { ...runnable, file: join(folder, 'model.onnx'), external: [] }, close };
  } catch (cause) {
    await close();
    throw new FileError(
      {
        path: folder ?? tmpdir(),
        problem: 'a weight is too large for the runtime in memory, and cannot be written to a temporary file',
        expected: `${printBytes(bytes)} of free space`,
        got: (cause as Error).message,
        hint: 'Set TMPDIR to a folder with more free space, or save the model and load it',
      },
      { cause },
    );
  }
}

async function write(files: Files, path: string, data: Uint8Array, moved: (bytes: number) => void): Promise<void> {
  const handle = await files.open(path, 'wx');
  try {
    for (let at = 0; at < data.byteLength; ) {
      const { bytesWritten } = await handle.write(data.subarray(at, at + pieceBytes));
      at += bytesWritten;
      moved(bytesWritten);
    }
  } finally {
    await handle.close();
  }
}
