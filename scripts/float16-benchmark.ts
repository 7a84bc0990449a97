/**
 * A model with 16-bit weights on the CPU: computed in float16, or stored in 16 bits and computed in float32, compared with float32.
 *
 *     node --conditions=@onnxformers/source --import tsx scripts/float16-benchmark.ts [cpu|wasm] [--rounds 7]
 *
 * Times are processor times in ms, medians of rounds in which the alternatives run in turn; in brackets the median ratio to float32.
 */
import { parseArgs } from 'node:util';
import {
  compile,
  createRunner,
  initialize,
  type ModelDType,
  type Ort,
  type Runner,
  targets,
  tensor,
  zoo,
} from '../packages/onnxformers/src/index';

const { values, positionals } = parseArgs({ allowPositionals: true, options: { rounds: { type: 'string', default: '7' } } });
const target = positionals[0] === 'wasm' ? targets.wasm : targets.cpu;
const ort = (await import(positionals[0] === 'wasm' ? 'onnxruntime-web' : 'onnxruntime-node')) as unknown as Ort;

const width = 1024;
const stack = zoo.parse('stack', {
  name: 'stack',
  dim: width,
  depth: 2,
  layers: { name: 'pre_norm', mixer: { name: 'multi_head', heads: 16 }, feedforward: 'mlp' },
  norm: 'layer_norm',
});
const weights = initialize(stack);

/** dtype of the weights, and in which dtypes the target may compute. */
const ways: Readonly<Record<string, readonly [ModelDType, typeof target.computes]>> = {
  float32: ['float32', target.computes],
  'float16, computed in float32': ['float16', ['float32', 'float64']],
  'float16, computed in float16': ['float16', ['float32', 'float16', 'float64']],
  'bfloat16, computed in float32': ['bfloat16', ['float32', 'float64']],
};
const median = (xs: readonly number[]): number => [...xs].sort((a, b) => a - b)[xs.length >> 1]!;
const spent = async (work: () => Promise<unknown>): Promise<number> => {
  const start = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1000;
};

const runners: (readonly [string, Runner, number])[] = [];
for (const [way, [dtype, computes]] of Object.entries(ways)) {
  const model = compile(stack, {
    target: { ...target, computes },
    dtype,
    inputs: { x: ['float32', ['batch', 'seq', width]] },
    weights,
  });
  let run: Runner | undefined;
  const session = target === targets.cpu ? { session: { intraOpNumThreads: 1 } } : {};
  const opened = await spent(async () => {
    run = await createRunner(model, ort, session);
  });
  runners.push([way, run!, opened]);
}
process.stdout.write('| weights, arithmetic | to open | 300 tokens | 1 token |\n| --- | --- | --- | --- |\n');
const times = new Map<string, Map<number, number[]>>(runners.map(([way]) => [way, new Map([300, 1].map((n) => [n, []]))]));
for (let round = -1; round < Number(values.rounds); round++)
  for (const tokens of [300, 1])
    for (const [way, run] of runners) {
      const x = tensor(
        'float32',
        [1, tokens, width],
        Float32Array.from({ length: tokens * width }, (_, i) => Math.sin(i)),
      );
      const time = await spent(() => run({ x }));
      if (round >= 0) times.get(way)!.get(tokens)!.push(time);
    }
const plain = times.get('float32')!;
for (const [way, , opened] of runners) {
  const cells = [300, 1].map((tokens) => {
    const own = times.get(way)!.get(tokens)!;
    return `${median(own).toFixed(1)} (${median(own.map((t, i) => t / plain.get(tokens)![i]!)).toFixed(2)})`;
  });
  process.stdout.write(`| ${[way, opened.toFixed(0), ...cells].join(' | ')} |\n`);
}
