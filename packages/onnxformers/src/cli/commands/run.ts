// onnxformers run DIR --inputs x.safetensors --out y.safetensors
import { createRunner, FeedError, FileError, type Progress, type Tensor } from '@onnxformers/core';
import { printType } from '@onnxformers/core/lowering';
import { load, openWeights, saveSafetensors } from '@onnxformers/core/node';
import { command } from '../command';
import { isFolder } from '../files';
import { interruptible } from '../interrupt';
import { columns, progressText } from '../output';
import { importRuntime, type RuntimeName, runtimeFor, runtimeNames } from '../runtimes';

export const run = command({
  name: 'run',
  words: ['DIR'],
  summary: 'Runs a saved model on tensors of a safetensors file and saves the outputs.',
  help: 'onnxformers run lm --inputs x.safetensors --out y.safetensors',
  options: {
    inputs: { type: 'text', doc: 'safetensors file with a tensor for each input', value: 'FILE', required: true },
    out: { type: 'text', doc: 'safetensors file for the outputs', value: 'FILE', required: true },
    outputs: { type: 'list', doc: 'only these outputs', value: 'NAME,…' },
    device: { type: 'text', doc: 'execution provider; auto tries those of the model, then the CPU', value: 'NAME|auto' },
    runtime: { type: 'text', doc: 'the runtime to use', choices: runtimeNames },
  },
  async run([dir], values, output) {
    if (await isFolder(values.out))
      throw new FileError({ path: values.out, problem: 'a folder, not a file', expected: 'a file for the outputs' });
    output.progress(`loading ${dir} …`);
    const model = await load(dir!);
    const feeds = await readFeeds(values.inputs);
    const name = (values.runtime as RuntimeName | undefined) ?? runtimeFor(values.device ? [values.device] : model.providers);
    const runner = await createRunner(model, await importRuntime(name), {
      ...(values.device !== undefined && { device: values.device }),
      onProgress: (p) => output.progress(p.phase === 'session' ? `opening ${dir} …` : `${p.phase} of ${dir}: ${progressText(p)}`),
    });
    try {
      output.progress(`running on ${runner.device} …`);
      const start = performance.now();
      const results = await runner(feeds, values.outputs ? { outputs: values.outputs } : {});
      const milliseconds = performance.now() - start;
      output.progress(`saving ${values.out} …`);
      const onProgress = (p: Progress) => output.progress(`saving ${values.out}: ${progressText(p)}`);
      await interruptible((signal) => saveSafetensors(values.out, new Map(Object.entries(results)), { signal, onProgress }));
      for (const { device, reason } of runner.refused) output.note(`${device} did not load: ${reason}`);
      const shapes = Object.entries(results).map(([key, { dtype, dims }]) => ({ name: key, dtype, dims }));
      output.result(
        () =>
          [
            `${values.out}: ${runner.device}, ${milliseconds.toFixed(1)} ms`,
            columns(shapes.map((s) => [s.name, printType(s)])),
          ].join('\n'),
        { out: values.out, runtime: name, device: runner.device, refused: runner.refused, milliseconds, outputs: shapes },
      );
    } finally {
      await runner.dispose();
    }
  },
});

async function readFeeds(path: string): Promise<Record<string, Tensor>> {
  const lazy = await openWeights(path);
  if (lazy.size === 0)
    throw new FeedError({ path, problem: 'the file contains no tensor', expected: 'a tensor for each input of the model' });
  return Object.fromEntries(await Promise.all([...lazy].map(async ([name, t]) => [name, await t.load()] as const)));
}
