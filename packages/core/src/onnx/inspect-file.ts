// Node only. Inspects a model file.

import { stat } from 'node:fs/promises';
import { dirname, isAbsolute, join, normalize } from 'node:path';
import { checkArguments } from '../arguments';
import { readWhole } from '../disk/read-file';
import { type InspectedFile, type Inspection, inspect } from './inspect';

/** What is wrong with an external file, if anything. Only the folder of the model is searched. */
async function problemOf(folder: string, { location, end }: InspectedFile): Promise<string | undefined> {
  if (isAbsolute(location) || normalize(location).startsWith('..')) return 'outside the folder of the model';
  const size = await stat(join(folder, location)).then(
    (s) => s.size,
    () => undefined,
  );
  if (size === undefined) return 'missing';
  return size < end ? `truncated: ${size} of ${end} bytes` : undefined;
}

/**
 * The contents of a model file, see {@link inspect}, and whether its external files exist.
 *
 * @throws FileError when the file cannot be read or is not an ONNX model
 */
export async function inspectFile(path: string): Promise<Inspection> {
  checkArguments('inspectFile', { path });
  const inspection = inspect(await readWhole(path), path);
  const externalFiles = await Promise.all(
    inspection.externalFiles.map(async (file) => {
      const problem = await problemOf(dirname(path), file);
      return { ...file, ...(problem && { problem }) };
    }),
  );
  return { ...inspection, externalFiles };
}
