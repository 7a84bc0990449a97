// A sharded checkpoint: several safetensors files with an index from tensors to files.
import { checkArguments } from '../arguments';
import { describe, FileError } from '../error';
import { duplicateKey } from './json-keys';
import { type ByteSource, type LazyTensor, openSafetensors } from './safetensors';

function parseIndex(json: string, path: string): readonly (readonly [tensor: string, file: string])[] {
  let index: unknown;
  try {
    index = JSON.parse(json);
  } catch (cause) {
    throw new FileError({ path, problem: 'the index is not JSON', got: (cause as Error).message }, { cause });
  }
  const twice = duplicateKey(json);
  if (twice !== undefined) throw new FileError({ path, problem: `the index contains ${describe(twice)} twice` });
  const map = (index as { weight_map?: unknown } | null)?.weight_map;
  if (typeof map !== 'object' || map === null || Array.isArray(map)) {
    throw new FileError({
      path,
      problem: 'the index has no weight_map',
      expected: 'an object of file names',
      got: describe(map),
    });
  }
  return Object.entries(map).map(([tensor, file]) => {
    // A name with a folder could point outside the checkpoint.
    if (typeof file === 'string' && file !== '' && !/[/\\:\0]|^\.\.?$/.test(file)) return [tensor, file] as const;
    throw new FileError({
      path,
      problem: `the file of tensor ${describe(tensor)}`,
      expected: 'a file name without a folder',
      got: describe(file),
    });
  });
}

/**
 * The tensors of a sharded checkpoint.
 *
 * @param index the text of `model.safetensors.index.json`
 * @param open returns the file for a name in the index; called once for each
 * @throws FileError for an invalid index, a file that cannot be opened, or a tensor that is not in the file that the index names
 */
export async function openSharded(
  index: string,
  open: (file: string) => ByteSource | Promise<ByteSource>,
  path = 'model.safetensors.index.json',
): Promise<Map<string, LazyTensor>> {
  checkArguments('openSharded', { index, open, 'path?': path });
  const shards = new Map<string, Map<string, LazyTensor>>();
  const tensors = new Map<string, LazyTensor>();
  for (const [name, file] of parseIndex(index, path)) {
    let shard = shards.get(file);
    if (!shard) {
      shard = await openSafetensors(await open(file));
      shards.set(file, shard);
    }
    const found = shard.get(name);
    if (!found) {
      const hint = 'The index and the files belong to different checkpoints, or a file is truncated';
      throw new FileError({ path, problem: `tensor ${describe(name)} is not in ${describe(file)}`, hint });
    }
    tensors.set(name, found);
  }
  return tensors;
}
