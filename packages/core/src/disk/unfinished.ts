// Node only. Recovery after a process ended while it was replacing files.
import { access, readdir, rename, rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { onDisk } from './file-error';

const host = hostname().replace(/[^\w.]/g, '_');

/** Prefix of the temporary folders of this process. The name identifies the process, to see whether it still runs. */
export const ownPrefix = `.saving-${host}-${process.pid}-`;

/** True for the folder of a process of this machine that has ended. */
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

/** Whatever another process has moved meanwhile is where it should be. */
async function moveIfThere(from: string, to: string): Promise<void> {
  await rename(from, to).catch((cause) => {
    if (cause.code !== 'ENOENT') throw cause;
  });
}

/**
 * Finishes what an ended process was doing in a folder: once the last of the old files had stepped aside, all new ones were on the disk, and those
 * that are not yet in their places go there.
 *
 * @param names in the order in which they become visible
 * @returns temporary folders that nobody uses any more
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

/** The same, then removes what is left. */
export async function cleanUp(dir: string, names: readonly string[]): Promise<void> {
  for (const folder of await finishMoves(dir, names)) await onDisk(folder, rm(folder, { recursive: true, force: true }));
}
