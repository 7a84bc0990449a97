// Measures compile time, which grows linearly with the number of layers: a decoder of 2 B parameters at 200 layers, without weights.
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

const measured = { cuda: targets.cuda, portable: targets.portable(23) };

/** Processor time, which other work on the machine does not lengthen; the least of 5 repetitions. */
function measure(depth: number, target: keyof typeof measured): { parameters: number; nodes: number; milliseconds: number } {
  const times: number[] = [];
  let [parameters, nodes] = [0, 0];
  for (let i = 0; i < 5; i++) {
    const start = process.cpuUsage();
    const module = decoder(depth);
    const dtype = target === 'cuda' ? 'float16' : 'float32';
    const model = compile(module, { target: measured[target], dtype, inputs: { ids: ['int64', ['batch', 'seq']] } });
    serialize(model);
    const { user, system } = process.cpuUsage(start);
    times.push((user + system) / 1000);
    parameters = [...namesOf(module).parameters.values()].reduce((n, p) => n + p.dims.reduce((a, b) => a * b, 1), 0);
    nodes = model.graph.nodes.length;
  }
  return { parameters, nodes, milliseconds: Math.min(...times) };
}

for (const target of ['cuda', 'portable'] as const) {
  measure(12, target); // warm
  process.stdout.write(`${target}: layers, parameters, nodes, processor time to build, compile and serialise (least of 5)\n`);
  for (const depth of [12, 50, 100, 200]) {
    const { parameters, nodes, milliseconds } = measure(depth, target);
    process.stdout.write(
      `${String(depth).padStart(6)}  ${(parameters / 1e9).toFixed(2)} B  ${String(nodes).padStart(7)}  ${milliseconds.toFixed(0)} ms, ${(milliseconds / depth).toFixed(1)} ms a layer\n`,
    );
  }
}
