// onnxformers inspect FILE.onnx|DIR
import { join } from 'node:path';
import { namesOf, printInspection, quantizationErrors, targets } from '@onnxformers/core';
import { inspectFile } from '@onnxformers/core/node';
import { checkpointOptions, isCheckpoint, type ReadCheckpoint, readCheckpoint } from '../checkpoint';
import { command, UsageError, type Values } from '../command';
import { quantizeOption, quantizeOptions } from '../compile-options';
import { isFolder } from '../files';
import { columns, type Output } from '../output';

const options = { ...checkpointOptions, ...quantizeOptions } as const;

export const inspect = command({
  name: 'inspect',
  words: ['FILE|DIR'],
  summary:
    'Shows the ops, inputs, outputs and weights of an ONNX file or of a saved model; of a Hugging Face checkpoint, its weights.',
  help: 'onnxformers inspect models/bert --quantize int4\nWith --quantize: the format of each weight of a checkpoint, and the relative error of what would be stored.',
  options,
  async run([file], values, output) {
    output.progress(`reading ${file} …`);
    if (await isCheckpoint(file!))
      return inspectCheckpoint(await readCheckpoint(file!, { task: values.task, dequantized: true }), values, output);
    if (values.task !== undefined || quantizeOption(values).quantize)
      throw new UsageError('--task and --quantize are options for the folder of a checkpoint');
    const found = await inspectFile((await isFolder(file!)) ? join(file!, 'model.onnx') : file!);
    output.result(() => printInspection(found), found);
  },
});

async function inspectCheckpoint(c: ReadCheckpoint, values: Values<typeof options>, output: Output): Promise<void> {
  const { module, weights, inputs, modelType, task, storedAs, unused } = c;
  const option = quantizeOption(values);
  const errors = option.quantize
    ? await quantizationErrors(module, { target: targets.cpu, inputs, weights, quantize: option.quantize })
    : [];
  const errorOf = new Map(errors.map((e) => [e.path, e]));
  const rows = [...namesOf(module).parameters.keys()].map((name) => {
    const { dtype, dims, byteLength } = weights.get(name)!;
    const e = errorOf.get(name);
    const stored = e
      ? { format: formatOf(e.format), error: e.weight, bytes: e.bytes }
      : { format: '', error: 0, bytes: byteLength };
    return { name, checkpoint: storedAs.get(name)!, dtype, dims, ...stored };
  });
  const bytes = rows.reduce((n, r) => n + r.bytes, 0);
  const parameters = rows.reduce((n, r) => n + r.dims.reduce((a, b) => a * b, 1), 0);
  const about = { modelType, task, parameters, bytes, weights: rows, unused };
  output.result(
    () =>
      [
        `${modelType}, ${task}: ${parameters.toLocaleString('en')} parameters, ${bytes.toLocaleString('en')} bytes`,
        columns(
          rows.map((r) => [
            r.name,
            `${r.dtype}[${r.dims.join(', ')}]`,
            r.format && `${r.format}, error ${r.error.toPrecision(3)}`,
            `from ${r.checkpoint}`,
          ]),
        ),
        ...(unused.length ? [`not used: ${unused.join(', ')}`] : []),
      ].join('\n'),
    about,
  );
}

const formatOf = (f: Awaited<ReturnType<typeof quantizationErrors>>[number]['format']): string =>
  typeof f === 'string' ? f : `int${f.bits} in blocks of ${f.blockSize}${f.zeroPoints ? ' with zero points' : ''}`;
