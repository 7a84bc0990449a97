// Pretrained checkpoints where a command takes a config: the folder of a Hugging Face model, or a GGUF file.
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type AnyModule, type CompileOptions, FileError, type LazyTensor } from '@onnxformers/core';
import type { Options } from './command';
import type { ReadConfig } from './config-file';
import { isFolder, isThere } from './files';

/** A checkpoint as a config with weights. */
export interface ReadCheckpoint extends ReadConfig {
  readonly weights: ReadonlyMap<string, LazyTensor>;
  readonly modelType: string;
  readonly task: string;
  /** Our name → the name in the checkpoint. */
  readonly storedAs: ReadonlyMap<string, string>;
  /** In the checkpoint, and not in the model. */
  readonly unused: readonly string[];
  /** Copies the files of tokenizer, preprocessing and generation. */
  copyCompanions(folder: string): Promise<void>;
}

/** Options of commands that read a checkpoint. */
export const checkpointOptions = {
  task: {
    type: 'text',
    doc: 'of a checkpoint: the head of the model, such as base or causal_lm (default: that of its config)',
    value: 'TASK',
  },
} as const satisfies Options;

/** Whether a path is a GGUF file, or the folder of a checkpoint: it has a config.json, and is not a saved model. */
export const isCheckpoint = async (path: string): Promise<boolean> =>
  isGguf(path) ||
  ((await isFolder(path)) && (await isThere(join(path, 'config.json'))) && !(await isThere(join(path, 'onnxformers.json'))));
const isGguf = (path: string): boolean => path.endsWith('.gguf');

// The package that reads checkpoints depends on this one, so its types are not imported.
interface Models {
  fromPretrained(
    folder: string,
    o: { readonly task?: string; readonly ggufFile?: string; readonly quantize?: false },
  ): Promise<Pretrained>;
  saveCompanions(files: unknown, folder: string): Promise<void>;
}
interface Pretrained {
  readonly module: AnyModule;
  readonly weights: ReadonlyMap<string, LazyTensor>;
  readonly inputs: CompileOptions['inputs'];
  readonly task: string;
  readonly modelType: string;
  readonly report: {
    readonly storedAs: ReadonlyMap<string, string>;
    readonly unused: readonly string[];
    readonly ignored: readonly string[];
  };
  readonly files: unknown;
}

const reader = '@onnxformers/models/node';

/** From the package beside this one, or that of the project in which the command runs. */
async function importReader(): Promise<Models> {
  try {
    return await import(reader).catch(() => {
      const project = createRequire(join(process.cwd(), 'package.json'));
      return import(pathToFileURL(project.resolve(reader)).href);
    });
  } catch (cause) {
    const problem = 'checkpoints are read by another package, which cannot be imported';
    const got = (cause as Error).message.split('\n')[0]!;
    throw new FileError({ path: '@onnxformers/models', problem, got, hint: 'npm install @onnxformers/models' }, { cause });
  }
}

/**
 * Reads the folder of a checkpoint or a GGUF file; its weights are read when they are needed. `dequantized`: those of a GGUF file as floats, to be quantised again.
 *
 * Throws   FileError if @onnxformers/models is not installed · as `fromPretrained`
 */
export async function readCheckpoint(
  path: string,
  { task, dequantized }: { readonly task: string | undefined; readonly dequantized: boolean },
): Promise<ReadCheckpoint> {
  const [folder, ggufFile] = isGguf(path) ? [dirname(path), basename(path)] : [path, undefined];
  const options = {
    ...(task !== undefined && { task }),
    ...(ggufFile !== undefined && { ggufFile }),
    ...(dequantized && { quantize: false as const }),
  };
  const { fromPretrained, saveCompanions } = await importReader();
  const { module, weights, inputs, modelType, report, files, ...read } = await fromPretrained(folder, options);
  return {
    kind: 'model',
    module,
    inputs,
    options: {},
    weights,
    modelType,
    task: read.task,
    storedAs: report.storedAs,
    unused: [...report.unused, ...report.ignored],
    copyCompanions: (to) => saveCompanions(files, to),
  };
}
