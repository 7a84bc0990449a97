// onnxformers explain CONFIG|DIR --target T
import { compile, explain as explainModel, type Model, type ModelDType, printExplanation } from '@onnxformers/core';
import { load } from '@onnxformers/core/node';
import { checkpointOptions, isCheckpoint, readCheckpoint } from '../checkpoint';
import { command, UsageError, type Values } from '../command';
import { compileOptions, machineOf, modelOptions, quantizeOption, targetOf } from '../compile-options';
import { readConfig } from '../config-file';
import { isFolder } from '../files';
import { modelOf } from '../saved';

// For a saved model, the saved options apply unless the command line overrides them.
const { target, dtype, ...rest } = modelOptions;
const { default: _, ...openTarget } = target;
const { default: __, ...openDtype } = dtype;
/** Options of commands whose argument is a config, a checkpoint or a saved model. */
export const eitherOptions = { target: openTarget, dtype: openDtype, ...rest, ...checkpointOptions } as const;

/** The model of a config file, of the folder of a checkpoint, or of a saved folder. */
export async function readModel(path: string, v: Values<typeof eitherOptions>): Promise<Model> {
  const complete = { ...v, target: v.target ?? target.default, dtype: v.dtype ?? dtype.default };
  if (await isCheckpoint(path)) {
    const checkpoint = await readCheckpoint(path, { task: v.task, dequantized: v.quantize !== undefined });
    return compile(checkpoint.module, compileOptions(complete, checkpoint));
  }
  if (v.task !== undefined) throw new UsageError('--task is an option for the folder of a checkpoint');
  if (await isFolder(path)) {
    if (quantizeOption(v).quantize) throw new UsageError('--quantize has no effect on a saved model; build it with --quantize');
    const machine = machineOf(v);
    return modelOf(await load(path), {
      ...(v.target && { target: targetOf(v.target) }),
      ...(v.dtype && { dtype: v.dtype as ModelDType }),
      ...(Object.keys(machine).length && { machine }),
    });
  }
  const config = await readConfig(path);
  return compile(config.module, compileOptions(complete, config));
}

export const explain = command({
  name: 'explain',
  words: ['CONFIG|DIR'],
  summary: 'Shows for each block which kernels were chosen, which were refused and why, and what to change for faster ones.',
  help: 'onnxformers explain lm.json --target cuda --dtype float16 --sm 90\nDIR is a saved model, or the folder of a Hugging Face checkpoint: onnxformers explain models/bert --quantize int4',
  options: {
    ...eitherOptions,
    path: {
      type: 'text',
      doc: 'only blocks at this path and below, such as layers.0.mixer, or a path as printed: layers.0–2.mixer',
    },
  },
  async run([path], values, output) {
    output.progress('compiling …');
    const explanation = explainModel(await readModel(path!, values), values.path === undefined ? {} : { path: values.path });
    output.result(() => printExplanation(explanation), explanation);
  },
});
