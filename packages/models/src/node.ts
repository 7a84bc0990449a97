// Exports that require Node.js: subpath @onnxformers/models/node.
import { FileError } from '@onnxformers/core';
import { fileSource } from '@onnxformers/core/node';
import type { FilesByName, PretrainedFiles } from './files';
import { fromPretrained as fromFiles, type Pretrained, type PretrainedOptions } from './from-pretrained';

/**
 * The files of a folder.
 *
 * Example  const files = filesIn('models/bert');
 */
export function filesIn(folder: string): PretrainedFiles {
  return {
    name: folder,
    async open(name) {
      try {
        return await fileSource(`${folder}/${name}`);
      } catch (error) {
        if (error instanceof FileError && isMissing(error.cause)) return undefined;
        throw error;
      }
    },
  };
}

const isMissing = (cause: unknown): boolean =>
  typeof cause === 'object' && cause !== null && (cause as { code?: unknown }).code === 'ENOENT';

/**
 * A pretrained model from a folder with a Hugging Face checkpoint, or from files of another source.
 *
 * Throws   as `fromPretrained` of the main entry
 * Example  const bert = await fromPretrained('models/bert');
 */
export const fromPretrained = (files: string | PretrainedFiles | FilesByName, o: PretrainedOptions = {}): Promise<Pretrained> =>
  fromFiles(typeof files === 'string' ? filesIn(files) : files, o);
