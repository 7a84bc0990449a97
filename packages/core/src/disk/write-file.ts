// Node only. One file written from chunks, down to the disk.
import { type FileHandle, open } from 'node:fs/promises';
import { sharedBytes } from '../tensor/scratch';
import { onDisk } from './file-error';

/** One call of the system writes at most this much; between calls saving can be aborted. */
const pieceBytes = 2 ** 26;
/** The next tensor is loaded while the last one is written, unless that one holds more memory than this. */
const overlapBytes = 2 ** 27;
/** So many blocks of joined chunks are on their way at most: a disk is slow and fast by turns. */
const blocksAtOnce = 4;
/** So much written, the disk is set to work on it unless it is at work; left to the end, it would begin only then. */
const flushBytes = 2 ** 26;

/** What takes the bytes of a file, in order. */
interface Sink {
  /** Writes these bytes behind those before. */
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

/** Moves all chunks into the sink, small ones joined. */
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
  // Not a for-await loop: its frame would hold a chunk, and so a tensor, while the next one is loaded.
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
 * @param report called after every piece written; an error that it throws ends the writing
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
