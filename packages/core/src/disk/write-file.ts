// Node only. One file written from chunks, down to the disk.
import { type FileHandle, open } from 'node:fs/promises';
import { onDisk } from './file-fault';

/** One call of the system writes at most this much; between calls saving can be aborted. */
const pieceBytes = 2 ** 26;
/** Smaller chunks are joined up to this size. */
const blockBytes = 2 ** 20;
/** The next tensor is loaded while the last one is written, unless that one holds more memory than this. */
const overlapBytes = 2 ** 27;

async function* inBlocks(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let block = new Uint8Array(blockBytes);
  let used = 0;
  for await (const chunk of chunks) {
    if (used + chunk.byteLength > blockBytes && used > 0) {
      yield block.subarray(0, used);
      block = new Uint8Array(blockBytes);
      used = 0;
    }
    if (chunk.byteLength > blockBytes) yield chunk;
    else {
      block.set(chunk, used);
      used += chunk.byteLength;
    }
  }
  if (used > 0) yield block.subarray(0, used);
}

/**
 * Writes one whole file, which must not exist yet, and waits until it is on the disk.
 *
 * @param report told of every piece written; what it throws ends the writing
 * @throws FileError with the hint when the file cannot be written; what `chunks` throws
 */
export async function writeFile(
  path: string,
  chunks: AsyncIterable<Uint8Array>,
  report: (bytes: number) => void,
  hint: string,
): Promise<void> {
  const write = async (handle: FileHandle, chunk: Uint8Array): Promise<void> => {
    for (let end = 0; end < chunk.byteLength; ) {
      const { bytesWritten } = await onDisk(path, handle.write(chunk, end, Math.min(pieceBytes, chunk.byteLength - end)), hint);
      end += bytesWritten;
      report(bytesWritten);
    }
  };
  const handle = await onDisk(path, open(path, 'wx'), hint);
  try {
    let writing = Promise.resolve();
    for await (const chunk of inBlocks(chunks)) {
      await writing;
      writing = write(handle, chunk);
      writing.catch(() => undefined); // it is awaited below; meanwhile the next chunk may fail first
      if (chunk.buffer.byteLength > overlapBytes) await writing;
    }
    await writing;
    await onDisk(path, handle.sync(), hint);
  } finally {
    await handle.close();
  }
}
