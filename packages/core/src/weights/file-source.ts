// Node only. Reads and writes checkpoint files.

import { type FileHandle, open, readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { checkArguments } from '../arguments';
import { onDisk } from '../disk/file-error';
import { readWhole } from '../disk/read-file';
import { replaceFiles } from '../disk/replace-files';
import { writeFile } from '../disk/write-file';
import { checkOptions, FileError } from '../error';
import { counter, type OnProgress } from '../progress';
import {
  type ByteSource,
  type LazyTensor,
  openSafetensors,
  safetensorsBytes,
  type WritableTensors,
  writeSafetensors,
} from './safetensors';
import { openSharded } from './sharded';

const indexName = 'model.safetensors.index.json';
const singleName = 'model.safetensors';
/** Bytes that one system call reads at most. */
const pieceBytes = 2 ** 30;

async function readPieces(handle: FileHandle, offset: number, bytes: Uint8Array, path: string): Promise<Uint8Array> {
  for (let at = 0; at < bytes.length; ) {
    const { bytesRead } = await onDisk(path, handle.read(bytes, at, Math.min(pieceBytes, bytes.length - at), offset + at));
    if (bytesRead === 0) return bytes.subarray(0, at);
    at += bytesRead;
  }
  return bytes;
}

/**
 * A file as a source of bytes. It is opened for each read, so it does not need to be closed.
 *
 * @throws FileError when the file does not exist; on reading, also when it was changed in between
 */
export async function fileSource(path: string): Promise<ByteSource> {
  checkArguments('fileSource', { path });
  const about = await onDisk(path, stat(path));
  const { size, mtimeMs } = about;
  if (!about.isFile()) throw new FileError({ path, problem: 'not a file' });
  return {
    name: path,
    size,
    async read(offset, length, scratch) {
      const handle = await onDisk(path, open(path));
      try {
        const now = await onDisk(path, handle.stat());
        if (now.size !== size || now.mtimeMs !== mtimeMs) {
          throw new FileError({ path, problem: 'the file changed after it was opened', hint: 'Open the weights again' });
        }
        return await readPieces(handle, offset, scratch?.take(length) ?? new Uint8Array(length), path);
      } finally {
        await handle.close();
      }
    },
  };
}

const isFolder = (path: string): Promise<boolean> =>
  stat(path).then(
    (about) => about.isDirectory(),
    () => false,
  );

async function findIn(folder: string): Promise<string> {
  const names = (await onDisk(folder, readdir(folder))).sort();
  for (const name of [singleName, indexName]) if (names.includes(name)) return join(folder, name);
  const files = names.filter((name) => name.endsWith('.safetensors'));
  if (files.length === 1) return join(folder, files[0]!);
  throw new FileError({
    path: folder,
    problem: files.length ? 'several safetensors files without an index' : 'no safetensors file in this folder',
    expected: `${singleName}, ${indexName}, or one file *.safetensors`,
    got: names.length > 6 ? `${names.slice(0, 6).join(', ')}, …` : names.join(', ') || 'an empty folder',
    ...(files.length && { hint: 'Pass the path of the file' }),
  });
}

/**
 * The weights of a checkpoint: of a safetensors file, of an index of several (`*.json`), or of a folder that contains either. Headers are read and
 * checked now, each tensor when it is loaded.
 *
 * @throws FileError, WeightError when a file or tensor is missing, truncated or inconsistent
 */
export async function openWeights(path: string): Promise<Map<string, LazyTensor>> {
  checkArguments('openWeights', { path });
  const file = (await onDisk(path, stat(path))).isDirectory() ? await findIn(path) : path;
  if (!file.endsWith('.json')) return openSafetensors(await fileSource(file));
  const index = new TextDecoder().decode(await readWhole(file));
  return openSharded(index, (name) => fileSource(join(dirname(file), name)), file);
}

/** Options of {@link saveSafetensors}. */
export interface SaveSafetensorsOptions {
  readonly metadata?: Readonly<Record<string, string>>;
  /** Called while bytes are written. */
  readonly onProgress?: OnProgress;
  readonly signal?: AbortSignal;
}

/**
 * Writes tensors to a safetensors file; lazy ones are loaded one at a time. The file gets its name when it is complete and on the disk: if writing
 * fails, an older file is not changed and no temporary file is left. Its folder is created if necessary.
 *
 * @throws FileError when the file cannot be written or the disk is full
 * @throws WeightError for values that the format does not support
 * @throws the reason of `signal` when that aborts
 */
export async function saveSafetensors(path: string, tensors: WritableTensors, o: SaveSafetensorsOptions = {}): Promise<void> {
  checkArguments('saveSafetensors', { path, tensors, 'options?': o });
  checkOptions('saveSafetensors', o, { metadata: true, onProgress: true, signal: true });
  const all = [...tensors];
  const moved = counter('write', safetensorsBytes(all, o.metadata), o.onProgress);
  const report = (bytes: number) => {
    o.signal?.throwIfAborted();
    moved(bytes);
  };
  o.signal?.throwIfAborted();
  if (await isFolder(path)) throw new FileError({ path, problem: 'a folder, not a file', expected: 'the name of a file' });
  const name = basename(path);
  await replaceFiles(dirname(path), [name], async (folder) => {
    const hint = `Nothing was changed at ${path}`;
    await writeFile(join(folder, name), writeSafetensors(all, o.metadata), report, hint);
    o.signal?.throwIfAborted();
  });
}
