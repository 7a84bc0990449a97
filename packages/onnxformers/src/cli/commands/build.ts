// onnxformers build CONFIG --target T --weights W --out DIR
import { join } from 'node:path';
import { compile, initialize, type ModelDType, type SchemeName, schemes, type WeightSource } from '@onnxformers/core';
import { printType } from '@onnxformers/core/lowering';
import { inspectFile, openWeights, save } from '@onnxformers/core/node';
import { checkpointOptions, isCheckpoint, readCheckpoint } from '../checkpoint';
import { command, UsageError } from '../command';
import { compileOptions, modelOptions } from '../compile-options';
import { type ReadConfig, readConfig } from '../config-file';
import { interruptible } from '../interrupt';
import { columns, progressText } from '../output';

const schemeNames = Object.keys(schemes) as readonly SchemeName[];

export const build = command({
  name: 'build',
  words: ['CONFIG'],
  summary: 'Compiles a config for a target and saves it as a folder: model.onnx, weights.bin, onnxformers.json.',
  help: 'onnxformers build lm.json --target cuda --dtype float16 --weights model.safetensors --out lm\nCONFIG is a JSON file: the config of a block, or { "kind", "config", "inputs", … }; or the folder of a Hugging Face checkpoint with its weights:\nonnxformers build models/llama --quantize int4 --target cuda --dtype float16 --out llama',
  options: {
    out: { type: 'text', doc: 'the folder to save to', value: 'DIR', required: true },
    weights: { type: 'text', doc: 'safetensors: a file, an index of several, or a folder with either', value: 'FILE|DIR' },
    seed: { type: 'integer', doc: 'initialise the weights at random with this seed instead' },
    scheme: { type: 'text', doc: 'initialisation scheme of the random weights', choices: schemeNames, default: 'default' },
    'strict-dtype': { type: 'flag', doc: 'fail instead of computing in another dtype' },
    ...modelOptions,
    ...checkpointOptions,
  },
  async run([path], values, output) {
    const checkpoint = (await isCheckpoint(path!))
      ? await readCheckpoint(path!, { task: values.task, dequantized: values.quantize !== undefined })
      : undefined;
    if (checkpoint && (values.weights !== undefined || values.seed !== undefined))
      throw new UsageError('the weights are those of the checkpoint: --weights and --seed exclude it');
    if (!checkpoint && values.task !== undefined) throw new UsageError('--task is an option for the folder of a checkpoint');
    const config = checkpoint ?? (await readConfig(path!));
    output.progress('reading weights …');
    const weights = checkpoint?.weights ?? (await weightsOf(config, values));
    output.progress('compiling …');
    const model = compile(config.module, { ...compileOptions(values, config), strictDtype: values['strict-dtype'], weights });
    await interruptible((signal) =>
      save(model, values.out, {
        signal,
        onProgress: (p) => output.progress(`saving ${values.out}: ${progressText(p)}`),
      }),
    );
    await checkpoint?.copyCompanions(values.out);
    const { signature, target, dtype } = model;
    // The contents of the file: constants are folded when it is written.
    const { nodes } = await inspectFile(join(values.out, 'model.onnx'));
    const about = {
      out: values.out,
      target: target.name,
      dtype,
      nodes,
      inputs: signature.inputs,
      outputs: signature.outputs,
    };
    output.result(
      () =>
        [
          `${values.out}: ${nodes} nodes for ${target.name} in ${dtype}`,
          columns([
            ...signature.inputs.map((p) => ['in', p.name, printType(p), p.derived ? 'computed by the runner' : '']),
            ...signature.outputs.map((p) => ['out', p.name, printType(p), '']),
          ]),
        ].join('\n'),
      about,
    );
  },
});

async function weightsOf(
  { module }: ReadConfig,
  v: { readonly weights: string | undefined; readonly seed: number | undefined; readonly scheme: string; readonly dtype: string },
): Promise<WeightSource> {
  if (v.weights !== undefined && v.seed !== undefined) throw new UsageError('--weights and --seed exclude each other');
  if (v.weights !== undefined) return openWeights(v.weights);
  if (v.seed === undefined)
    throw new UsageError('build requires weights: --weights FILE for a checkpoint, or --seed N for random weights');
  return initialize(module, { seed: v.seed, scheme: v.scheme as SchemeName, dtype: v.dtype as ModelDType });
}
