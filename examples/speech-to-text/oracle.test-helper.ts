// The files of the package in float32: dynamic quantization is taken out of their graphs, so that they compute with the dequantised weights.
import { type OnnxNode, type Tensor, tensor } from '@onnxformers/core';
import { saveOnnx } from '@onnxformers/core/node';
import type { FileGraph } from './weights';

const node = (opType: string, { name }: OnnxNode, inputs: readonly string[], outputs: readonly string[]): OnnxNode => ({
  ...{ name, opType, inputs, outputs, domain: '', attributes: {} },
});

/** Writes a graph in float32, with some of its inputs and outputs. */
export async function saveFloat(
  file: FileGraph,
  folder: string,
  inputs: readonly string[],
  outputs: readonly string[],
): Promise<number> {
  const { graph } = file;
  const made = new Map<string, Tensor>();
  const number = (name: string, value: number) => made.set(name, tensor('float32', [], [value]));
  let rewritten = 0;
  const nodes = graph.nodes.map((n) => {
    const [x, codes, , zero] = n.inputs as [string, string, string, string];
    if (n.opType === 'DynamicQuantizeLinear') {
      number(n.outputs[1]!, 1);
      return node('Identity', n, [x], [n.outputs[0]!]);
    }
    if (n.opType !== 'MatMulInteger') return n;
    rewritten++;
    const { data, dims } = file.tensor(codes);
    const shift = Number(file.tensor(zero).data[0]);
    made.set(`${codes} in float32`, { dtype: 'float32', dims, data: Float32Array.from(data as Uint8Array, (q) => q - shift) });
    return node('MatMul', n, [x, `${codes} in float32`], n.outputs);
  });
  const used = new Set(nodes.flatMap((n) => n.inputs));
  const kept = graph.initializers.filter(({ name }) => used.has(name));
  const added = [...made].map(([name, data]) => ({ name, dtype: data.dtype, dims: data.dims, data }));
  await saveOnnx(
    {
      opsets: { '': 14 },
      graph: {
        name: 'float',
        nodes,
        inputs: graph.inputs.filter(({ name }) => inputs.includes(name)),
        outputs: outputs.map((name) => graph.outputs.find((output) => output.name === name)!),
        initializers: [...kept, ...added],
      },
    },
    folder,
  );
  return rewritten;
}
