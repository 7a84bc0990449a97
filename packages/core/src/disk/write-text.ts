// Node only. Writes a small file completely or not at all.
import { basename, dirname, join } from 'node:path';
import { checkArguments } from '../arguments';
import { replaceFiles } from './replace-files';
import { writeFile } from './write-file';

async function* only(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, undefined> {
  yield bytes;
}

/**
 * Writes a text file, such as a config. The file gets its name when it is complete and on the disk; its folder is created if necessary.
 *
 * @throws FileError when the file cannot be written
 */
export async function saveText(path: string, text: string): Promise<void> {
  checkArguments('saveText', { path, text });
  await saveBytes(path, new TextEncoder().encode(text));
}

/**
 * Writes a file that is in memory. The file gets its name when it is complete and on the disk; its folder is created if necessary.
 *
 * @throws FileError when the file cannot be written
 */
export async function saveBytes(path: string, bytes: Uint8Array): Promise<void> {
  checkArguments('saveBytes', { path, bytes });
  const name = basename(path);
  await replaceFiles(dirname(path), [name], async (folder) => {
    await writeFile(join(folder, name), only(bytes), () => undefined, `Nothing was changed at ${path}`);
  });
}
