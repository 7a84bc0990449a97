// What the system says of files, as errors of ours.
import { FileError } from '@onnxformers/core';

const problems: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or folder',
  EISDIR: 'a folder, not a file',
  ENOTDIR: 'a part of the path is no folder',
  EACCES: 'permission denied',
};

/** The error of a file that could not be read, or was not what it should be. */
export function fileError(path: string, error: unknown, problem?: string): FileError {
  const code = (error as { readonly code?: string }).code ?? '';
  const said = error instanceof Error ? error.message : String(error);
  return new FileError(
    { path, problem: problem ?? problems[code] ?? 'cannot be read', ...(!problems[code] && { got: said }) },
    { cause: error },
  );
}
