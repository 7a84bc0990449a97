// The files of @moonshine-ai/moonshine-js, each checked before it is used.
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { FileError } from '@onnxformers/core';

const source = '@moonshine-ai/moonshine-js';
const version = '0.1.29';

/** File in the package → SHA-256. */
const checksums = {
  'encoder_model.onnx': 'c6fc4b7bc5af75c0591fd157a1f3829b533d18e9769a888fd95a62e470dd4f4a',
  'decoder_model_merged.onnx': 'eed87831c3a6103534aae7d47a5d485025c659a1323901513961c39fe8a1a367',
} as const;

/**
 * The bytes of one file of the package.
 *
 * @throws FileError when the file is not there, or is not the one whose SHA-256 is in `checksums`.
 */
export async function readPackageFile(name: keyof typeof checksums): Promise<Uint8Array> {
  const hint = `Install ${source}@${version} again`;
  try {
    const bytes = await readFile(new URL(`model/tiny/quantized/${name}`, import.meta.resolve('@moonshine-ai/moonshine-js')));
    const got = createHash('sha256').update(bytes).digest('hex');
    if (got === checksums[name]) return bytes;
    throw new FileError({
      path: name,
      problem: 'is not the file that this example was written for',
      expected: checksums[name],
      got,
      hint,
    });
  } catch (cause) {
    if (cause instanceof FileError) throw cause;
    throw new FileError({ path: `${source}: ${name}`, problem: 'cannot be read', hint }, { cause });
  }
}
