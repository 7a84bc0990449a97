// Where the files of a checkpoint come from: memory, blobs, a folder, URLs.
import { type ByteSource, checkArguments, FileError } from '@onnxformers/core';

/** The files of a checkpoint, by name. */
export interface PretrainedFiles {
  /** For errors: a folder or an address. */
  readonly name: string;
  /** A file that can be read piece by piece; undefined if there is none of this name. */
  open(name: string): Promise<ByteSource | undefined>;
}

/** Files in memory: from an input of a web page, a download, an archive. */
export type FilesByName = ReadonlyMap<string, Uint8Array | Blob>;

/**
 * Files in memory as a source; of a blob only the ranges that are needed are read.
 *
 * Example  const files = filesInMemory(new Map([['config.json', new Uint8Array()]]));
 */
export function filesInMemory(files: FilesByName): PretrainedFiles {
  return {
    name: 'files',
    async open(name) {
      const file = files.get(name);
      return file && (file instanceof Uint8Array ? bytesSource(name, file) : blobSource(name, file));
    },
  };
}

const bytesSource = (name: string, bytes: Uint8Array): ByteSource => ({
  name,
  size: bytes.length,
  read: async (offset, length) => bytes.subarray(offset, offset + length),
});

const blobSource = (name: string, blob: Blob): ByteSource => ({
  name,
  size: blob.size,
  read: async (offset, length) => new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer()),
});

/**
 * The same name, if it is that of a file in the folder or below it.
 *
 * Throws   FileError for a name that could mean another place
 */
export function insideName(name: string): string {
  const parts = name.split('/');
  if (!/[\\:\0]/.test(name) && parts.every((part) => part !== '' && part !== '.' && part !== '..')) return name;
  throw new FileError({
    path: name,
    problem: 'not a name inside the folder',
    expected: 'a file of the checkpoint, such as config.json',
  });
}

/**
 * Files under an address, read by ranges. The server must answer range requests; whole files are never read by accident.
 *
 * Throws   FileError (when a file is opened or read) for a response other than the file or its range
 * Example  const files = filesAt('https://example.org/models/bert/');
 */
export function filesAt(address: string, get: typeof fetch = fetch): PretrainedFiles {
  checkArguments('filesAt', { address });
  const base = address.endsWith('/') ? address : `${address}/`;
  return {
    name: base,
    async open(name) {
      const url = `${base}${insideName(name).split('/').map(encodeURIComponent).join('/')}`;
      // Two bytes: some servers take a range that ends at 0 for the whole file.
      const found = await get(url, { headers: { range: 'bytes=0-1' } });
      await found.body?.cancel();
      if (found.status === 404) return undefined;
      const size = Number(/\/(\d+)$/.exec(found.headers.get('content-range') ?? '')?.[1] ?? Number.NaN);
      if (found.status !== 206 || Number.isNaN(size)) throw notARange(url, found);
      return {
        name: url,
        size,
        async read(offset, length) {
          if (length === 0) return new Uint8Array();
          const part = await get(url, { headers: { range: `bytes=${offset}-${offset + length - 1}` } });
          if (part.status !== 206 || !part.headers.get('content-range')?.startsWith(`bytes ${offset}-`))
            throw notARange(url, part);
          return new Uint8Array(await part.arrayBuffer());
        },
      };
    },
  };
}

const notARange = (path: string, { status, statusText, headers }: Response): FileError =>
  new FileError({
    path,
    problem: 'the server did not answer with a range of the file',
    expected: 'status 206 with its content-range',
    got: [status, statusText, headers.get('content-range')].filter(Boolean).join(' '),
    hint: 'Serve it by a server that supports range requests, or load the files and use filesInMemory',
  });

/** Text files longer than this are refused before they are read. */
const longest = 2 ** 26;

/**
 * A whole text file, such as a config; undefined if there is none of this name.
 *
 * Throws   FileError for a file beyond 64 MiB
 */
export async function readFile(files: PretrainedFiles, name: string): Promise<Uint8Array | undefined> {
  const source = await files.open(name);
  if (source && source.size > longest)
    throw new FileError({ path: name, problem: 'too long', expected: `at most ${longest} bytes`, got: String(source.size) });
  return source?.read(0, source.size);
}

/**
 * The whole file of an address.
 *
 * Throws   FileError for a response other than the file
 */
export async function fetchFile(address: string | URL): Promise<Uint8Array> {
  const path = String(address);
  const refused = (got: string, cause?: unknown) =>
    new FileError({ path, problem: 'cannot be loaded', expected: 'the address of a file', got }, { cause });
  const response = await fetch(address).catch((cause: unknown) => {
    throw refused(String(cause), cause);
  });
  if (!response.ok) throw refused(`${response.status} ${response.statusText}`.trim());
  return new Uint8Array(await response.arrayBuffer());
}
