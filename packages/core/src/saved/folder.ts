// Node only. Models as folders: model.onnx, weights.bin, onnxformers.json.

import { join } from 'node:path';
import { checkArguments } from '../arguments';
import type { Model } from '../compile/compile';
import { serialize } from '../compile/serialize';
import { readWhole } from '../disk/read-file';
import { finishMoves } from '../disk/unfinished';
import { checkOptions, FileError } from '../error';
import { readOnnx } from '../onnx/decode';
import { inspectFile } from '../onnx/inspect-file';
import { saveOnnx } from '../onnx/save';
import type { OnProgress } from '../progress';
import { type ExternalFile, nodeInfo, type Runnable } from '../runtime/runnable';
import { describeModel, readDescription, type SavedModel } from './saved-model';

const files = { model: 'model.onnx', weights: 'weights.bin', description: 'onnxformers.json' } as const;

/** Options of {@link save}. */
export interface SaveOptions {
  /** Called while bytes are written. */
  readonly onProgress?: OnProgress;
  /** Aborts the saving; no incomplete files are left. */
  readonly signal?: AbortSignal;
}

/**
 * Saves a compiled model as a folder: `model.onnx`, `weights.bin`, and `onnxformers.json` with config, signature and decisions. Weights are written
 * tensor by tensor; replacing the files of an existing folder is the last step.
 *
 * Throws   WeightError when the model has no weights · FileError when the disk is full or the folder cannot be written
 *
 * Example  await save(model, 'my-model');
 */
export async function save(model: Model, dir: string, options: SaveOptions = {}): Promise<void> {
  checkArguments('save', { model, dir, 'options?': options });
  checkOptions('save', options, { onProgress: true, signal: true });
  await saveOnnx(serialize(model), dir, {
    files: { model: files.model, weights: files.weights },
    extra: { [files.description]: describeModel(model) },
    ...options,
  });
}

/** A saved model: for `createRunner`, with its config. */
export interface LoadedModel extends Runnable, SavedModel {}

/**
 * Reads the folder of a saved model; the runtime reads the weights when a runner is created. If a process was killed while it replaced old files by
 * new ones, the replacement is finished first.
 *
 * Throws   FileError when a file is missing or damaged, or of a newer format
 *
 * Example  const run = await createRunner(await load('model'), ort);
 */
export async function load(dir: string): Promise<LoadedModel> {
  checkArguments('load', { dir });
  await finishMoves(dir, [files.weights, files.model, files.description]);
  const saved = readDescription(await text(join(dir, files.description)), join(dir, files.description));
  const path = join(dir, files.model);
  const onnx = readOnnx(await readWhole(path, folderHint), path);
  const { externalFiles } = await inspectFile(path);
  const external = externalFiles.map(({ location, problem }): ExternalFile => {
    const data = join(dir, location);
    if (problem) throw new FileError({ path: data, problem: `the weights of the model are ${problem}`, hint: folderHint });
    return { path: location, data };
  });
  return { ...saved, file: path, external, nodes: nodeInfo(onnx) };
}

const folderHint =
  'A saved model is a folder with model.onnx, weights.bin and onnxformers.json; save it again, or copy all of them';
const text = async (path: string): Promise<string> => new TextDecoder().decode(await readWhole(path, folderHint));
