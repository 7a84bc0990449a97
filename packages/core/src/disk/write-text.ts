// Node only. Writes a text file completely or not at all.

import { basename, dirname, join } from 'node:path';
import { checkArguments } from '../arguments';
import { replaceFiles } from './replace-files';
import { writeFile } from './write-file';

async function* only(text: string): AsyncGenerator<Uint8Array, void, undefined> {
  yield new TextEncoder().encode(text);
}

/**
 * Writes a text file, such as a config. The file gets its name when it is complete and on the disk; its folder is created if necessary.
 *
 * @throws FileError when the file cannot be written
 */
export async function saveText(path: string, text: string): Promise<void> {
  checkArguments('saveText', { path, text });
  const name = basename(path);
  await replaceFiles(dirname(path), [name], async (folder) => {
    await writeFile(join(folder, name), only(text), () => undefined, `Nothing was changed at ${path}`);
  });
}
