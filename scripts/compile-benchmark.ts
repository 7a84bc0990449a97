// Measures compile time, which grows linearly with the number of layers: a decoder of 1 B parameters at 96 layers, without weights.
// Run: node --conditions=@onnxformers/source --import tsx scripts/compile-benchmark.ts
import { compile, namesOf, serialize, targets, zoo } from '../packages/onnxformers/src/index';

function decoder(depth: number) {
  return zoo.build('model', {
    name: 'causal_lm',
    dim: 1024,
    vocabSize: 32_000,
    tied: true,
    embedding: 'token',
    stack: {
      name: 'stack',
      depth,
      layers: {
        name: 'pre_norm',
        norm: 'rms_norm',
        mixer: { name: 'multi_head', heads: 16, kvHeads: 4, bias: false, rotaryEmbedding: 'rotary' },
        feedforward: { name: 'glu', hidden: 2560, bias: false },
      },
      norm: 'rms_norm',
    },
  });
}

const median = (xs: readonly number[]): number => [...xs].sort((a, b) => a - b)[xs.length >> 1]!;

function measure(depth: number): { parameters: number; nodes: number; milliseconds: number } {
  const times: number[] = [];
  let [parameters, nodes] = [0, 0];
  for (let i = 0; i < 5; i++) {
    const start = performance.now();
    const module = decoder(depth);
    const model = compile(module, { target: targets.cuda, dtype: 'float16', inputs: { ids: ['int64', ['batch', 'seq']] } });
    serialize(model);
    times.push(performance.now() - start);
    parameters = [...namesOf(module).parameters.values()].reduce((n, p) => n + p.dims.reduce((a, b) => a * b, 1), 0);
    nodes = model.graph.nodes.length;
  }
  return { parameters, nodes, milliseconds: median(times) };
}

measure(4); // warm
process.stdout.write('layers  parameters  nodes  build + compile + serialise, median of 5\n');
for (const depth of [12, 24, 48, 96]) {
  const { parameters, nodes, milliseconds } = measure(depth);
  process.stdout.write(
    `${String(depth).padStart(6)}  ${(parameters / 1e9).toFixed(2)} B  ${String(nodes).padStart(7)}  ${milliseconds.toFixed(0)} ms, ${(milliseconds / depth).toFixed(1)} ms a layer\n`,
  );
}
