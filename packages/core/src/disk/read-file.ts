// Node only. Reads whole files.
import { readFile, stat } from 'node:fs/promises';
import { FileError } from '../error';
import { onDisk } from './file-error';

/**
 * The bytes of a file. A device, which may have endless content, is refused before anything is read.
 *
 * @throws FileError with the hint when the file does not exist, is not a regular file, or cannot be read
 */
export async function readWhole(path: string, hint?: string): Promise<Uint8Array> {
  const about = await onDisk(path, stat(path), hint);
  if (about.isDirectory()) throw new FileError({ path, problem: 'a folder, not a file', ...(hint && { hint }) });
  if (!about.isFile()) throw new FileError({ path, problem: 'not a file', expected: 'a regular file', ...(hint && { hint }) });
  return onDisk(path, readFile(path), hint);
}
