// Node only. Recovery after a process was killed while it replaced files.
import { access, readdir, rename, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { onDisk } from './file-error';

const host = hostname().replace(/[^\w.]/g, '_');

/** Prefix of the temporary folders of this process. It contains the process id, to check whether the process still runs. */
export const ownPrefix = `.saving-${host}-${process.pid}-`;

/** True for the temporary folder of a process of this machine that has ended. */
function isAbandoned(name: string): boolean {
  const [, where, pid] = /^\.saving-(.+)-(\d+)-[^-]+$/.exec(name) ?? [];
  if (where !== host) return false;
  try {
    process.kill(Number(pid), 0);
    return false;
  } catch (cause) {
    return (cause as NodeJS.ErrnoException).code === 'ESRCH';
  }
}

const isThere = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

/** A file that another process has moved in the meantime is already in place. */
async function moveIfThere(from: string, to: string): Promise<void> {
  await rename(from, to).catch((cause) => {
    if (cause.code !== 'ENOENT') throw cause;
  });
}

/**
 * Finishes the replacement that a killed process had begun in a folder: if the old file of the last name had been moved away, all new files are on the
 * disk, and those that are not in place yet are moved there.
 *
 * @param names in the order in which they become visible
 * @returns temporary folders that are no longer used
 * @throws FileError where files cannot be moved
 */
export async function finishMoves(dir: string, names: readonly string[]): Promise<readonly string[]> {
  const entries = await readdir(dir).catch(() => []);
  const abandoned = entries.filter(isAbandoned).map((name) => join(dir, name));
  const last = names.at(-1)!;
  for (const folder of abandoned) {
    if ((await isThere(join(dir, last))) || !(await isThere(join(folder, last)))) continue;
    for (const name of names)
      await onDisk(join(dir, name), moveIfThere(join(folder, name), join(dir, name)), 'An earlier save was interrupted here');
  }
  return abandoned;
}

/** The same, then removes the temporary folders. */
export async function cleanUp(dir: string, names: readonly string[]): Promise<void> {
  for (const folder of await finishMoves(dir, names)) await onDisk(folder, rm(folder, { recursive: true, force: true }));
}
