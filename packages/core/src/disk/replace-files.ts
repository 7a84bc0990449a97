// Node only. Several files of a folder replaced as one: all of them or none.
import { mkdir, mkdtemp, open, rename, rm, rmdir, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { onDisk } from './file-error';
import { cleanUp, ownPrefix } from './unfinished';

/** Flushes the entries of a folder to the disk (fsync). Windows has no such call and does not require one. */
export async function syncFolder(folder: string): Promise<void> {
  if (process.platform === 'win32') return;
  const handle = await onDisk(folder, open(folder, 'r'));
  try {
    await onDisk(folder, handle.sync());
  } finally {
    await handle.close();
  }
}

/**
 * Moves files from one folder into another on the same disk. Old files are moved away first, beginning with the last name, and the new file of the last
 * name is added last: if it exists, all files exist. If a move fails, all are undone. A single file replaces the old one atomically.
 */
async function moveAll(from: string, into: string, names: readonly string[]): Promise<void> {
  const [only, ...others] = names;
  if (only !== undefined && others.length === 0) return onDisk(join(into, only), rename(join(from, only), join(into, only)));
  const aside = join(from, 'replaced');
  await onDisk(aside, mkdir(aside));
  const undo: (() => Promise<void>)[] = [];
  const move = async (source: string, target: string): Promise<void> => {
    await rename(source, target);
    undo.push(() => rename(target, source));
  };
  try {
    for (const name of names.toReversed()) {
      const moved = move(join(into, name), join(aside, name)).catch((cause) => {
        if (cause.code !== 'ENOENT') throw cause;
      });
      await onDisk(join(into, name), moved);
    }
    for (const name of names) await onDisk(join(into, name), move(join(from, name), join(into, name)));
  } catch (cause) {
    for (const back of undo.reverse()) await back();
    throw cause;
  }
}

/** Makes a folder and its missing parents; returns the topmost one made. Node's own recursive form does not terminate in folders such as /proc. */
async function makeFolder(folder: string): Promise<string | undefined> {
  const make = (): Promise<boolean> =>
    mkdir(folder).then(
      () => true,
      async (cause) => {
        if (cause.code === 'EEXIST' && (await stat(folder)).isDirectory()) return false;
        throw cause;
      },
    );
  try {
    return (await make()) ? folder : undefined;
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT' || dirname(folder) === folder) throw cause;
    const above = await makeFolder(dirname(folder));
    return (await make()) ? (above ?? folder) : above;
  }
}

/** Removes folders that are empty, from `folder` up to `top`. */
async function removeEmpty(folder: string, top: string): Promise<void> {
  await rmdir(folder).catch(() => undefined);
  if (resolve(folder) !== resolve(top)) await removeEmpty(dirname(folder), top);
}

/**
 * Replaces files of a folder, which is created if necessary. `write` writes and flushes them in a temporary folder on the same disk; then
 * they replace older ones. If anything fails, the folder is as before; other files in it are never touched. If the
 * process is killed in the middle, the next save to or load from the folder finds the old files or finishes the replacement.
 *
 * @param names in the order in which they become visible
 * @throws FileError when the folder cannot be made or written; errors of `write`
 */
export async function replaceFiles(
  dir: string,
  names: readonly string[],
  write: (folder: string) => Promise<void>,
): Promise<void> {
  const made = await onDisk(dir, makeFolder(resolve(dir)));
  let folder: string | undefined;
  try {
    await cleanUp(dir, names);
    folder = await onDisk(dir, mkdtemp(join(dir, ownPrefix)));
    await write(folder);
    await moveAll(folder, dir, names);
    await syncFolder(dir);
    await rm(folder, { recursive: true, force: true });
  } catch (cause) {
    if (folder) await rm(folder, { recursive: true, force: true });
    if (made) await removeEmpty(resolve(dir), made);
    throw cause;
  }
}
