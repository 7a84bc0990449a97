// Node only. Saves a model of any size to a folder: structure and weights in separate files.

import { basename, join } from 'node:path';
import { checkArguments } from '../arguments';
import { replaceFiles } from '../disk/replace-files';
import { writeFile } from '../disk/write-file';
import { checkOptions, FileError, internal } from '../error';
import { counter, type OnProgress } from '../progress';
import { type EncodedModel, toChunks } from './encode';
import { isExternal, type OnnxModel } from './model';
import { printBytes } from './print';

/** Options of {@link saveOnnx}. */
export interface SaveOnnxOptions {
  /** Default `model.onnx` and `weights.bin`. */
  readonly files?: { readonly model: string; readonly weights: string };
  /** Further text files to save, by file name. The last one becomes visible last: if it exists, all files exist. */
  readonly extra?: Readonly<Record<string, string>>;
  /** Called after every piece of at most 64 MiB. */
  readonly onProgress?: OnProgress;
  /** Aborts the saving between two pieces. */
  readonly signal?: AbortSignal;
}

async function* textChunks(text: string): AsyncGenerator<Uint8Array> {
  yield new TextEncoder().encode(text);
}

function checkNames(dir: string, names: readonly string[]): void {
  const wrong = names.find(
    (name, i) => name !== basename(name) || !/[^.]/.test(name) || name.includes('\\') || names.indexOf(name) !== i,
  );
  if (wrong !== undefined)
    throw new FileError({
      path: dir,
      problem: 'cannot save under this name',
      expected: 'distinct file names',
      got: `"${wrong}"`,
    });
}

/**
 * Saves a model to a folder, which is created if necessary: the structure in one file, the elements of all initializers of 1 KiB and more
 * in another, each at a multiple of 4096 bytes. Tensors are loaded one at a time, the next one while the previous one is written unless one of
 * them is large (64 and 128 MiB). Files are complete and on the disk before they get their names; if anything fails or is aborted, an older model in the
 * folder is not changed. Other files there are not touched.
 *
 * @throws FileError when the folder cannot be written or the disk is full
 * @throws WeightError when a lazy initializer does not match its declaration
 * @throws the reason of `signal` when that aborts
 */
export async function saveOnnx(model: OnnxModel, dir: string, options: SaveOnnxOptions = {}): Promise<void> {
  checkArguments('saveOnnx', { onnx: model, dir, 'options?': options });
  checkOptions('saveOnnx', options, { files: true, extra: true, onProgress: true, signal: true });
  const { files = { model: 'model.onnx', weights: 'weights.bin' }, extra = {}, onProgress, signal } = options;
  const names = [files.weights, files.model, ...Object.keys(extra)];
  checkNames(dir, names);
  signal?.throwIfAborted();
  const elsewhere = model.graph.initializers.find(({ data }) => isExternal(data));
  if (elsewhere) throw internal(`initializer "${elsewhere.name}" is in a file of another folder; load it before saving`);
  const encoded: EncodedModel = toChunks(model, { externalData: { location: files.weights } });
  const total = encoded.externalBytes + encoded.modelBytes;
  const moved = counter('write', total, onProgress);
  const report = (bytes: number): void => {
    signal?.throwIfAborted();
    moved(bytes);
  };
  const hint = `The model takes ${printBytes(total)}; nothing was changed in ${dir}.`;
  await replaceFiles(dir, names, async (folder) => {
    await writeFile(join(folder, files.weights), encoded.external, report, hint);
    await writeFile(join(folder, files.model), encoded.model, report, hint);
    for (const [name, text] of Object.entries(extra))
      await writeFile(join(folder, name), textChunks(text), () => signal?.throwIfAborted(), hint);
    signal?.throwIfAborted();
  });
}
