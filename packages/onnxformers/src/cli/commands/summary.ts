// onnxformers summary CONFIG|DIR --size batch=2,seq=128
import { namesOfDim, printSummary, summary as summarise } from '@onnxformers/core';
import { command } from '../command';
import { namedSizes, sizeOption } from '../sizes-option';
import { eitherOptions, readModel } from './explain';

export const summary = command({
  name: 'summary',
  words: ['CONFIG|DIR'],
  summary: 'The tree of modules with parameters, FLOPs, weight and activation memory, for given sizes.',
  help: 'onnxformers summary lm.json --size batch=2,seq=128\nSizes that are not given: batch 1, the others 128.',
  options: { ...eitherOptions, ...sizeOption },
  async run([path], values, output) {
    const given = namedSizes(values.size);
    output.progress('compiling …');
    const model = await readModel(path!, values);
    const names = model.signature.inputs.filter((p) => !p.derived && !p.parameter).flatMap((p) => p.dims.flatMap(namesOfDim));
    // States are empty before the first call.
    const open = [...new Set(names)].filter((name) => name !== 'past' && name !== 'past_memory');
    const about = summarise(model, { ...Object.fromEntries(open.map((name) => [name, name === 'batch' ? 1 : 128])), ...given });
    output.result(() => printSummary(about), about);
  },
});
