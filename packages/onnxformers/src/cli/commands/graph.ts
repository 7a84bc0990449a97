// onnxformers graph CONFIG|DIR --out graph.svg
import { drawGraphFile, pictureOf, toDot } from '../../picture/picture';
import { command } from '../command';
import { writeText } from '../files';
import { eitherOptions, readModel } from './explain';

export const graph = command({
  name: 'graph',
  words: ['CONFIG|DIR'],
  summary: 'Draws the compiled graph: blocks as boxes, fused ops highlighted.',
  help: 'onnxformers graph lm.json --target cuda --dtype float16 --out lm.svg\nA file that ends in .dot contains the graph in the format of Graphviz.',
  options: {
    ...eitherOptions,
    out: {
      type: 'text',
      doc: 'file to write',
      value: 'FILE.svg|FILE.dot',
      required: true,
      form: { pattern: /\.(svg|dot)$/, words: 'a file that ends in .svg or .dot' },
    },
  },
  async run([path], values, output) {
    output.progress('compiling …');
    const picture = pictureOf(await readModel(path!, values));
    output.progress('drawing …');
    await writeText(values.out, values.out.endsWith('.dot') ? `${toDot(picture)}\n` : await drawGraphFile(picture));
    output.result(() => `${values.out}: ${picture.nodes.length} nodes`, { file: values.out, nodes: picture.nodes.length });
  },
});
