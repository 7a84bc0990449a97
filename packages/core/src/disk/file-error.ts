// Node only. Errors of the operating system about files, as FileError.
import { FileError } from '../error';

const problems: Readonly<Record<string, string>> = {
  ENOSPC: 'no space left on the disk',
  EDQUOT: 'the disk quota is used up',
  EFBIG: 'larger than this disk or process may write',
  EROFS: 'the disk is read-only',
  EACCES: 'permission denied',
  EPERM: 'permission denied',
  EBUSY: 'in use by another program',
  ENOENT: 'no such file or folder',
  ENOTDIR: 'a part of the path is not a folder',
  EISDIR: 'a folder, not a file',
  EEXIST: 'exists already and is not a folder',
  EMFILE: 'too many open files',
  ERR_FS_FILE_TOO_LARGE: 'larger than 2 GiB',
};

/** Awaits an operation on a file or folder; errors of the system become a FileError, other errors pass through. */
export async function onDisk<T>(path: string, operation: Promise<T>, hint?: string): Promise<T> {
  try {
    return await operation;
  } catch (cause) {
    const code = (cause as { code?: unknown } | undefined)?.code;
    if (!(cause instanceof Error) || typeof code !== 'string') throw cause;
    throw new FileError(
      { path, problem: problems[code] ?? `the system says "${cause.message}"`, ...(hint && { hint }) },
      { cause },
    );
  }
}
