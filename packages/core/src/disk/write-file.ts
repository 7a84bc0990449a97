// Node only. Writes one file from chunks, and flushes it to the disk.
import { type FileHandle, open } from 'node:fs/promises';
import { sharedBytes } from '../tensor/scratch';
import { onDisk } from './file-error';

/** Bytes that one system call writes at most; between calls saving can be aborted. */
const pieceBytes = 2 ** 26;
/** The next tensor is loaded while the last one is written, unless that one uses more memory than this. */
const overlapBytes = 2 ** 27;
/** Maximum number of blocks of joined chunks in the queue, because the speed of a disk varies. */
const blocksAtOnce = 4;
/** After so many bytes a flush is started, unless one is running; otherwise the disk would begin only at the end. */
const flushBytes = 2 ** 26;

/** Writes the bytes of a file, in order. */
interface Sink {
  /** Appends bytes. */
  write(bytes: Uint8Array): Promise<void>;
  /** Waits until everything is on the disk. */
  finish(): Promise<void>;
}

function sinkOf(handle: FileHandle, on: <T>(operation: Promise<T>) => Promise<T>, report: (bytes: number) => void): Sink {
  let writing = Promise.resolve();
  let flushing: Promise<void> | undefined;
  let unflushed = 0;
  let failed: { readonly reason: unknown } | undefined;
  const flush = (): void => {
    unflushed = 0;
    flushing = on(handle.datasync()).then(
      () => {
        flushing = undefined;
      },
      (reason) => {
        failed = { reason };
      },
    );
  };
  const writeAll = async (bytes: Uint8Array): Promise<void> => {
    for (let end = 0; end < bytes.byteLength; ) {
      const { bytesWritten } = await on(handle.write(bytes, end, Math.min(pieceBytes, bytes.byteLength - end)));
      end += bytesWritten;
      unflushed += bytesWritten;
      report(bytesWritten);
      if (failed) throw failed.reason;
      if (unflushed >= flushBytes && !flushing) flush();
    }
  };
  return {
    write(bytes) {
      writing = writing.then(() => writeAll(bytes));
      writing.catch(() => undefined); // awaited later; meanwhile the source may fail first
      return writing;
    },
    async finish() {
      await writing;
      await flushing;
      if (failed) throw failed.reason;
      await on(handle.sync());
    },
  };
}

/** Writes all chunks to the sink, small ones joined. */
async function pour(chunks: AsyncIterator<Uint8Array>, sink: Sink): Promise<void> {
  const blocks = Array.from({ length: blocksAtOnce }, () => ({ bytes: new Uint8Array(sharedBytes), written: Promise.resolve() }));
  let large = Promise.resolve();
  let [current, used] = [0, 0];
  const writeBlock = async (): Promise<void> => {
    const block = blocks[current]!;
    block.written = sink.write(block.bytes.subarray(0, used));
    current = (current + 1) % blocksAtOnce;
    used = 0;
    await blocks[current]!.written;
  };
  const writeLarge = async (chunk: Uint8Array): Promise<void> => {
    await large;
    large = sink.write(chunk);
    if (chunk.buffer.byteLength > overlapBytes) await large;
  };
  // Not a for-await loop: its frame would keep a chunk, and so a tensor, alive while the next one is loaded.
  const step = async (): Promise<boolean> => {
    const { done, value: chunk } = await chunks.next();
    if (done) return false;
    if (used + chunk.byteLength > sharedBytes && used > 0) await writeBlock();
    if (chunk.byteLength > sharedBytes) await writeLarge(chunk);
    else {
      blocks[current]!.bytes.set(chunk, used);
      used += chunk.byteLength;
    }
    return true;
  };
  try {
    while (await step());
    await writeBlock();
  } finally {
    await chunks.return?.();
  }
}

/**
 * Writes one whole file, which must not exist yet, and waits until it is on the disk.
 *
 * @param report called after every write; an error that it throws stops the writing
 * @throws FileError with the hint when the file cannot be written; errors of `chunks`
 */
export async function writeFile(
  path: string,
  chunks: AsyncIterable<Uint8Array>,
  report: (bytes: number) => void,
  hint: string,
): Promise<void> {
  const on = <T>(operation: Promise<T>): Promise<T> => onDisk(path, operation, hint);
  const handle = await on(open(path, 'wx'));
  try {
    const sink = sinkOf(handle, on, report);
    await pour(chunks[Symbol.asyncIterator](), sink);
    await sink.finish();
  } finally {
    await handle.close();
  }
}
