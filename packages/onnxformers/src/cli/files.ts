// Errors of the system about files, as our errors.
import { open, stat, writeFile } from 'node:fs/promises';
import { FileError } from '@onnxformers/core';

const problems: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or folder',
  EISDIR: 'a folder, not a file',
  ENOTDIR: 'a part of the path is not a folder',
  EACCES: 'permission denied',
};

/** The error for a file that could not be read, or has wrong contents. */
export function fileError(path: string, error: unknown, problem?: string): FileError {
  const code = (error as { readonly code?: string }).code ?? '';
  const said = (error instanceof Error ? error.message : String(error)).replace(/\s+/g, ' ');
  return new FileError(
    { path, problem: problem ?? problems[code] ?? 'cannot be read', ...(!problems[code] && { got: said }) },
    { cause: error },
  );
}

/** True if the path exists. */
export const isThere = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

/** True if the path is an existing folder. */
export const isFolder = (path: string): Promise<boolean> =>
  stat(path).then(
    (s) => s.isDirectory(),
    () => false,
  );

/** Maximum length of a config, in bytes. */
const mostBytes = 2 ** 26;

/**
 * The text of a file, or of a stream that a shell passes as one: `<(…)`, /dev/stdin.
 *
 * @throws FileError when it cannot be read, or does not end within 64 MiB
 */
export async function readText(path: string): Promise<string> {
  const pieces: Buffer[] = [];
  let length = 0;
  try {
    const file = await open(path);
    for await (const piece of file.createReadStream({ end: mostBytes })) {
      pieces.push(piece as Buffer);
      length += (piece as Buffer).length;
    }
  } catch (error) {
    throw fileError(path, error);
  }
  if (length > mostBytes) throw new FileError({ path, problem: 'too long for a config', expected: 'at most 64 MiB' });
  return Buffer.concat(pieces).toString('utf8');
}

/**
 * Writes a text file.
 *
 * @throws FileError when it cannot be written
 */
export async function writeText(path: string, text: string): Promise<void> {
  try {
    await writeFile(path, text);
  } catch (error) {
    throw fileError(path, error, 'cannot be written');
  }
}
