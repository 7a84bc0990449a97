// Node only. Models as folders: model.onnx, weights.bin, onnxformers.json.
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Model } from './compile';
import { FileError } from './error';
import { allNodes } from './onnx/model';
import { readOnnx } from './onnx/decode';
import { saveOnnx, type SaveProgress } from './onnx/save';
import type { Runnable } from './runtime/runner';
import { nodeInfo } from './runtime/runner';
import { describeModel, readDescription, type SavedModel } from './saved-model';
import { serialize } from './serialize';

const files = { model: 'model.onnx', weights: 'weights.bin', description: 'onnxformers.json' } as const;

/** Options of {@link save}. */
export interface SaveOptions {
  /** Called while bytes are written. */
  readonly onProgress?: (progress: SaveProgress) => void;
  /** Ends the saving; nothing half-written is left. */
  readonly signal?: AbortSignal;
}

/**
 * Saves a compiled model as a folder. Weights are written tensor by tensor; a folder that was there before is replaced at the very end.
 *
 * Throws   WeightError when the model has no weights · FileError when the disk is full or the folder cannot be written
 */
export async function save(model: Model, dir: string, options: SaveOptions = {}): Promise<void> {
  await saveOnnx(serialize(model), dir, { files: { model: files.model, weights: files.weights }, extra: { [files.description]: describeModel(model) }, ...options });
}

/** A saved model: what `createRunner` takes, and what it was made from. */
export interface LoadedModel extends Runnable, SavedModel {}

/**
 * Reads the folder of a saved model; the runtime reads the weights when a runner is created.
 *
 * Throws   FileError when a file is missing or damaged, or of a newer format
 *
 * Example  const run = await createRunner(await load('model'), ort);
 */
export async function load(dir: string): Promise<LoadedModel> {
  const saved = readDescription(await text(join(dir, files.description)), join(dir, files.description));
  const path = join(dir, files.model);
  const onnx = readOnnx(await bytes(path));
  await stat(join(dir, files.weights)).catch((error: unknown) => {
    if ([...allNodes(onnx.graph)].length && onnx.graph.initializers.some((i) => 'location' in i.data)) throw missing(join(dir, files.weights), error);
  });
  return { ...saved, file: path, nodes: nodeInfo(onnx) };
}

const text = async (path: string): Promise<string> => new TextDecoder().decode(await bytes(path));
const bytes = async (path: string): Promise<Uint8Array> => {
  try {
    return await readFile(path);
  } catch (error) {
    throw missing(path, error);
  }
};
const missing = (path: string, cause: unknown): FileError =>
  new FileError({ path, problem: 'cannot be read', got: cause instanceof Error ? cause.message : String(cause), hint: 'A saved model is a folder with model.onnx, weights.bin and onnxformers.json' }, { cause });
