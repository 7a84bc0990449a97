// onnxformers summary CONFIG|DIR --size batch=2,seq=128
import { namesOfDim, printSummary, summary as summarise } from '@onnxformers/core';
import { command, UsageError } from '../command';
import { eitherOptions, readModel } from './explain';

export const summary = command({
  name: 'summary',
  words: ['CONFIG|DIR'],
  summary: 'The tree of modules with parameters, FLOPs, weight and activation memory, for given sizes.',
  help: 'onnxformers summary lm.json --size batch=2,seq=128\nSizes that are not given: batch 1, the others 128.',
  options: { ...eitherOptions, size: { type: 'list', doc: 'values of the size names', value: 'NAME=N,…' } },
  async run([path], values, output) {
    const given = sizesOf(values.size ?? []);
    output.progress('compiling …');
    const model = await readModel(path!, values);
    const names = model.signature.inputs.filter((p) => !p.derived && !p.parameter).flatMap((p) => p.dims.flatMap(namesOfDim));
    // States are empty before the first call.
    const open = [...new Set(names)].filter((name) => name !== 'past' && name !== 'past_memory');
    const about = summarise(model, { ...Object.fromEntries(open.map((name) => [name, name === 'batch' ? 1 : 128])), ...given });
    output.result(() => printSummary(about), about);
  },
});

function sizesOf(list: readonly string[]): Record<string, number> {
  return Object.fromEntries(
    list.map((text) => {
      const [, name, n] = /^([^=]+)=(\d+)$/.exec(text) ?? [];
      if (name === undefined) throw new UsageError(`--size must be a list such as batch=2,seq=128, got "${text}"`);
      if (list.some((other) => other !== text && other.startsWith(`${name}=`)))
        throw new UsageError(`--size contains ${name} twice`);
      return [name, Number(n)];
    }),
  );
}
