/**
 * Packed against padded batches on one thread: the language model of `bench varlen` on the same sequences in both layouts, in turn, and a list of sequences through
 * `createEncoder`. Prints the medians of CPU times and of their ratios. CPU time does not count other processes, which elapsed time does.
 *
 *     node --conditions=@onnxformers/source --import tsx scripts/packed-benchmark.ts [cpu | wasm, default cpu] [rounds, default 9]
 */
import * as node from 'onnxruntime-node';
import * as web from 'onnxruntime-web';
import {
  equalLengths,
  spreadLengths,
  type VarlenSizes,
  varlenCase,
  varlenWeights,
} from '../packages/onnxformers/src/bench/varlen';
import { createEncoder, createRunner, initialize, type Ort, type Runner, targets, zoo } from '../packages/onnxformers/src/index';

const name = process.argv[2] === 'wasm' ? 'wasm' : 'cpu';
const rounds = Number(process.argv[3] ?? 9);
const target = targets[name];
web.env.wasm.numThreads = 1;
const ort = (name === 'wasm' ? web : node) as unknown as Ort;
const runner = name === 'wasm' ? {} : { session: { intraOpNumThreads: 1, interOpNumThreads: 1 } };

const median = (xs: readonly number[]): number => [...xs].sort((a, b) => a - b)[Math.floor(xs.length / 2)]!;
const cpuTime = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};
async function timed(f: () => Promise<unknown>): Promise<number> {
  const start = cpuTime();
  await f();
  return cpuTime() - start;
}

/** Times two ways in turn. */
async function compared(
  what: string,
  rows: readonly [packed: number, padded: number],
  ways: readonly (() => Promise<unknown>)[],
) {
  for (const way of ways) await way();
  const times = ways.map((): number[] => []);
  for (let round = 0; round < rounds; round++) for (const [i, way] of ways.entries()) times[i]!.push(await timed(way));
  const ratios = times[0]!.map((t, i) => times[1]![i]! / t);
  const [expected, ratio] = [rows[1] / rows[0], median(ratios)];
  const cells = [
    what,
    ...times.map((t) => median(t).toFixed(0)),
    expected.toFixed(2),
    ratio.toFixed(2),
    `${(100 * (ratio / expected - 1)).toFixed(0)} %`,
  ];
  console.log(`| ${cells.join(' | ')} |`);
}

const base = { depth: 2, heads: 4, headDim: 64, hidden: 1024, vocabSize: 512 } as const;
const spread = (count: number, most: number): VarlenSizes => ({
  ...base,
  seqLen: most + 1,
  lengths: spreadLengths(count, most, 0.6731),
});
const equal = ({ lengths, ...sizes }: VarlenSizes): VarlenSizes => ({ ...sizes, lengths: equalLengths(lengths) });
const batches: readonly (readonly [name: string, sizes: VarlenSizes])[] = [
  ['16 sequences of up to 63', spread(16, 63)],
  ['16 sequences of up to 255', spread(16, 255)],
  ['8 sequences of up to 511', spread(8, 511)],
  ['8 sequences of up to 1,023', spread(8, 1023)],
  ['equal lengths, 16 sequences', equal(spread(16, 255))],
];

console.log(`${name}, float32, one thread, ${rounds} rounds`);
console.log('| batch | packed, CPU ms | padded, CPU ms | rows padded ÷ packed | time padded ÷ packed | deviation |');
console.log('| --- | --- | --- | --- | --- | --- |');
for (const [what, sizes] of batches)
  for (const causal of [false, true]) {
    const weights = varlenWeights(sizes, 'float32');
    const cases = (['packed', 'padded'] as const).map((layout) =>
      varlenCase(sizes, { causal, layout }, { target, dtype: 'float32', weights }),
    );
    // One after another: in WebAssembly a session may fail to open beside another.
    const runs: Runner[] = [];
    for (const { model } of cases) runs.push(await createRunner(model, ort, runner));
    const ways = runs.map((run, i) => () => run(cases[i]!.feeds));
    await compared(`${what}, ${causal ? 'causal' : 'bidirectional'}`, [cases[0]!.rows, cases[1]!.rows], ways);
    for (const run of runs) await run.dispose();
  }

// A list of sequences: sorted by length, so that batches have similar lengths.
const { lengths, vocabSize, seqLen, hidden, heads, headDim, depth } = spread(64, 511);
const encoder = zoo.build('model', {
  name: 'encoder',
  dim: heads * headDim,
  seqLen,
  embedding: { name: 'token', vocabSize },
  position: 'learnable',
  stack: {
    name: 'stack',
    depth,
    layers: { name: 'pre_norm', mixer: { name: 'multi_head', heads }, feedforward: { name: 'mlp', hidden } },
  },
});
const weights = initialize(encoder, { seed: 1 });
const list = lengths.map((n, s) => Array.from({ length: n }, (_, i) => (7 * i * i + 5 * s + i) % vocabSize));
for (const maxTokens of [2048, 16_384]) {
  const encoders = await Promise.all(
    (['packed', 'padded'] as const).map((layout) => createEncoder(encoder, ort, { target, weights, maxTokens, layout, runner })),
  );
  const ways = encoders.map((each) => () => each.encode(list));
  for (const way of ways) await way();
  const [packed, padded] = encoders.map((each) => each.report!.rows) as [number, number];
  await compared(`createEncoder, 64 sequences of up to 511, at most ${maxTokens} rows`, [packed, padded], ways);
  for (const each of encoders) await each.dispose();
}
