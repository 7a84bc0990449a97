// onnxformers schema KIND
import { zoo } from '../../index';
import { command } from '../command';

export const schema = command({
  name: 'schema',
  words: ['KIND'],
  summary: 'Prints the JSON Schema of all configs of a kind: model, layer, mixer, attention, …',
  help: 'Editors use it to complete and check configs: onnxformers schema model > model.schema.json',
  options: {},
  async run([kind], _, output) {
    const json = zoo.jsonSchema(kind as never);
    output.result(() => JSON.stringify(json, undefined, 2), json);
  },
});
