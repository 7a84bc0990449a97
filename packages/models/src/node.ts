// Exports that require Node.js: subpath @onnxformers/models/node.
import { fileURLToPath } from 'node:url';
import { checkArguments, FileError, type LazyTensor, type Ort, type Tensor } from '@onnxformers/core';
import { fileSource, saveBytes, saveSafetensors, saveText } from '@onnxformers/core/node';
import { companions } from './companions';
import { type FilesByName, fetchFile, insideName, type PretrainedFiles, readFile } from './files';
import { fromPretrained as fromFiles, type PretrainedOptions } from './from-pretrained';
import { openPipeline, type Pipeline, type PipelineOptions, type PipelineTask } from './pipeline/pipeline';
import type { ReadAddress } from './pipeline/task';
import type { Pretrained } from './pretrained';
import { storedTensors } from './stored';

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
        return await fileSource(`${folder}/${insideName(name)}`);
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
 * Example  const bert = await fromPretrained(filesIn('models/bert'));
 */
export const fromPretrained = (files: string | PretrainedFiles | FilesByName, o: PretrainedOptions = {}): Promise<Pretrained> =>
  fromFiles(typeof files === 'string' ? filesIn(files) : files, o);

/**
 * A pretrained model for a task, from a folder or from files of another source, as a function on texts.
 *
 * Throws   as `pipeline` of the main entry
 * Example  const fill = await pipeline('fill-mask', filesIn('models/bert'), ort);
 */
export const pipeline = <T extends PipelineTask>(
  task: T,
  files: string | PretrainedFiles | FilesByName,
  ort: Ort,
  o: PipelineOptions = {},
): Promise<Pipeline<T>> => openPipeline(task, typeof files === 'string' ? filesIn(files) : files, ort, o, fetchOrRead);

/** Paths and addresses `file:` are files of this machine. */
const fetchOrRead: ReadAddress = async (address) => {
  const text = String(address);
  if (/^(https?|data|blob):/i.test(text)) return fetchFile(address);
  const { size, read } = await fileSource(text.startsWith('file:') ? fileURLToPath(text) : text);
  return read(0, size);
};

/**
 * Writes a pretrained model as a Hugging Face checkpoint: `config.json` as it was read, and `model.safetensors` with the names, layouts and dtypes of the checkpoint that it
 * came from. Weights that did not change are the same bytes. The files of its tokenizer, chat templates, preprocessing and generation are copied, so that the folder is enough.
 *
 * Throws   FileError when a file cannot be written · WeightError for weights of other dims
 * Example  await toPretrained(await fromPretrained(filesIn('models/bert')), 'models/copy');
 */
export async function toPretrained(
  model: Pretrained,
  folder: string,
  o: {
    /** Weights by the names of the module, in place of those that were read. */
    readonly weights?: ReadonlyMap<string, LazyTensor | Tensor>;
  } = {},
): Promise<void> {
  checkArguments('toPretrained', { pretrained: model, dir: folder });
  const tensors = storedTensors(model, o.weights ?? new Map());
  await saveSafetensors(`${folder}/model.safetensors`, tensors, { metadata: { format: 'pt' } });
  await saveText(`${folder}/config.json`, `${JSON.stringify(model.original, undefined, 2)}\n`);
  await saveCompanions(model.files, folder);
}

/**
 * Copies what a model needs besides config and weights: the files of its tokenizer, chat templates, preprocessing, pooling and generation. With `save(compiled, folder)` of
 * `@onnxformers/core/node`, a folder with an ONNX model has them too.
 *
 * Throws   FileError when a file cannot be read or written
 * Example  await saveCompanions(filesIn('models/bert'), 'models/copy');
 */
export async function saveCompanions(files: PretrainedFiles, folder: string): Promise<void> {
  checkArguments('saveCompanions', { folder: files, dir: folder });
  for (const name of companions) {
    const bytes = await readFile(files, name);
    if (bytes) await saveBytes(`${folder}/${name}`, bytes);
  }
}
