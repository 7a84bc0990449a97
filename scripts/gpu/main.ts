// Checks that only a GPU can make; prints JSON lines. Run with onnxruntime-node and its CUDA provider: node checks.mjs WHAT [FOLDER]
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { compileEncoder } from '../../examples/sentence-similarity/model';
import { sizes } from '../../examples/sentence-similarity/sizes';
import { evaluateDim } from '../../packages/core/src/dim/dim';
import { toTensor } from '../../packages/core/src/tensor/convert';
import { drawsOf, exampleOf, feedsFor } from '../../packages/core/src/testing/example';
import { roundingErrors } from '../../packages/core/src/testing/rounding';
import { variantsOf } from '../../packages/core/src/testing/variants';
import { benchAttention } from '../../packages/onnxformers/src/bench/attention';
import { start } from '../../packages/onnxformers/src/cli/start';
import {
  castTensor,
  compile,
  createRunner,
  initialize,
  interpret,
  type Model,
  type NDArray,
  type Ort,
  type Parameter,
  parseSafetensors,
  type RunnerOptions,
  type Target,
  type Tensor,
  targets,
  tensor,
  toArray,
  zoo,
} from '../../packages/onnxformers/src/index';
import { attentions } from './attentions';
import { decode, runDecode } from './decode';
import { encoder as bert, runEncoder } from './encoder';
import { examples, runExamples } from './examples';
import { experts } from './experts';
import { large, runLarge } from './large';
import { layerParts, runLayerParts } from './layer-parts';
import { packed, runPacked } from './packed';
import { packedAttention, runPackedAttention } from './packed-attention';
import { pagedTokens } from './paged';
import { parametrizations, runParametrizations } from './parametrizations';
import { predictions, runPredictions } from './predictions';
import { recurrences } from './recurrences';
import { runSharedHeads, sharedHeads } from './shared-heads';
import { runVarlen, varlen } from './varlen';
import { runVarlenProfile, varlenProfile } from './varlen-profile';
import { runWindows, windows } from './windows';
import { zoo as mechanisms } from './zoo';

const ort = createRequire(import.meta.url)('onnxruntime-node') as Ort;
const print = (x: unknown): void => void process.stdout.write(`${JSON.stringify(x)}\n`);
const [what = 'encoder', folder = '.'] = process.argv.slice(2);
// CPU: to try the script itself without a GPU.
const device = process.env.DEVICE === 'cpu' ? 'cpu' : 'cuda';
const fused = targets[device];
const cuda: RunnerOptions = { device, session: { graphOptimizationLevel: 'disabled' } };
const verbose: RunnerOptions = { device, session: { graphOptimizationLevel: 'disabled', logSeverityLevel: 0 } };
const machine = { runtime: '1.30.0', sm: 90 };

const opsOf = (model: Model): Record<string, number> => {
  const counts: Record<string, number> = {};
  for (const { op, outputs } of model.graph.nodes) if (outputs[0]) counts[op.key] = (counts[op.key] ?? 0) + 1;
  return counts;
};
const largest = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
  Array.from(a).reduce((worst, x, i) => Math.max(worst, Math.abs(x - b[i]!)), 0);
const median = (xs: readonly number[]): number => [...xs].sort((a, b) => a - b)[xs.length >> 1]!;

function encoder24(): Parameters<typeof compile>[0] {
  return zoo.build('model', {
    name: 'encoder',
    dim: 1024,
    stack: {
      name: 'stack',
      depth: 24,
      layers: { name: 'pre_norm', mixer: { name: 'multi_head', heads: 16 }, feedforward: { name: 'mlp', hidden: 4096 } },
      norm: 'layer_norm',
    },
  });
}

async function encoder(): Promise<void> {
  const module = encoder24();
  const model = compile(module, {
    target: fused,
    machine,
    dtype: 'float16',
    inputs: { x: ['float16', ['batch', 'seq', 1024]] },
    weights: initialize(module, { seed: 1 }),
  });
  print({ what: 'encoder', ops: opsOf(model) });
  const run = await createRunner(model, ort, cuda);
  const x: Tensor = { dtype: 'float16', dims: [8, 512, 1024], data: new Uint16Array(8 * 512 * 1024).fill(0x3400) };
  for (let i = 0; i < 3; i++) await run({ x });
  const times: number[] = [];
  for (let i = 0; i < 10; i++) {
    const start = performance.now();
    await run({ x });
    times.push(performance.now() - start);
  }
  print({ what: 'encoder', batch: 8, seq: 512, milliseconds: median(times), withCopies: true });
  await run.dispose();
}

// The demo's weights, ids and recorded vectors. Of its embeddings only those of its ids are in the file.
function demoFile(): { load(name: string): Tensor; weights: Map<string, Tensor> } {
  const all = parseSafetensors(new Uint8Array(gunzipSync(readFileSync(join(folder, 'demo.safetensors.gz')))));
  const load = (name: string): Tensor => all.get(name)!.loadSync!();
  const names = [...all.keys()].filter((n) => n.startsWith('weight/'));
  const weights = new Map(names.map((n) => [n.slice('weight/'.length), load(n)]));
  const [used, rows] = [load('used'), weights.get('embedding.weight')!];
  const width = rows.dims[1]!;
  const table = new Float32Array(sizes.vocabulary * width);
  Array.from(used.data as BigInt64Array, Number).forEach((id, i) =>
    table.set((rows.data as Float32Array).subarray(i * width, (i + 1) * width), id * width),
  );
  weights.set('embedding.weight', tensor('float32', [sizes.vocabulary, width], table));
  return { load, weights };
}

async function demo(): Promise<void> {
  const { load, weights } = demoFile();
  const [ids, lengths, expected] = [load('ids'), load('lengths'), load('vectors')];
  for (const [target, dtype] of [
    [fused, 'float32'],
    [fused, 'float16'],
    [fused, 'bfloat16'],
    [targets.portable(), 'float16'],
    [targets.portable(), 'float32'],
  ] as const) {
    try {
      const model = compileEncoder(weights, target, dtype);
      const run = await createRunner(model, ort, cuda);
      const { vectors } = await run({ ids, lengths });
      print({
        what: 'demo',
        target: target.name,
        dtype,
        largestError: largest(vectors!.data as Float32Array, expected.data as Float32Array),
        ops: opsOf(model),
      });
      await run.dispose();
    } catch (error) {
      print({ what: 'demo', target: target.name, dtype, error: (error as Error).message.slice(0, 600) });
    }
  }
}

async function attention(): Promise<void> {
  for (const seq of [512, 2048, 8192, 16384])
    for (const causal of [false, true]) {
      const sizes = { batch: 16384 / seq, heads: 16, kvHeads: 16, headDim: 128, seq, causal };
      const figure = await benchAttention(sizes, { target: fused, machine, dtype: 'float16' }, ort, { session: cuda.session! });
      const op = figure.model.graph.nodes.find((n) => n.op.key.includes('ttention'))?.op.key;
      print({
        what: 'attention',
        ...sizes,
        op,
        ms: +figure.median.toFixed(4),
        spread: +figure.spread.toFixed(4),
        tflops: +figure.tflops.toFixed(1),
      });
    }
}

// Which kernel the runtime picks, printed by itself: run with ORT_ENABLE_ATTENTION_KERNEL_DEBUG_INFO=1.
async function kernels(): Promise<void> {
  for (const seq of [512, 2048, 8192, 16384])
    for (const causal of [false, true]) {
      print({ what: 'kernels', seq, causal });
      const sizes = { batch: 16384 / seq, heads: 16, kvHeads: 16, headDim: 128, seq, causal };
      await benchAttention(sizes, { target: fused, machine, dtype: 'float16' }, ort, {
        few: 1,
        more: 1,
        repetitions: 1,
        warmups: 0,
        session: cuda.session!,
      });
    }
}

// Where the runtime puts every node, in its own log on stderr.
async function placement(): Promise<void> {
  const logged: RunnerOptions = { device, session: { graphOptimizationLevel: 'disabled', logSeverityLevel: 0 } };
  const module = encoder24();
  const model = compile(module, {
    target: fused,
    machine,
    dtype: 'float16',
    inputs: { x: ['float16', ['batch', 'seq', 1024]] },
    weights: initialize(module, { seed: 1 }),
  });
  await (await createRunner(model, ort, logged)).dispose();
  const { weights } = demoFile();
  for (const dtype of ['float32', 'float16', 'bfloat16'] as const)
    await (await createRunner(compileEncoder(weights, fused, dtype), ort, logged)).dispose();
}

// Greedy tokens with caches in pools on the device, and by every other path.
async function paged(): Promise<void> {
  const result = await pagedTokens(ort, { device });
  const all = Object.values(result.tokens).map((rows) => JSON.stringify(rows));
  print({
    what: 'paged',
    equal: all.every((rows) => rows === all[0]),
    milliseconds: result.milliseconds,
    ops: result.ops,
    tokens: result.tokens,
  });
}

// Every block's examples: lowered for CUDA and portable, both run on the GPU, both against the interpreter.
async function parity(): Promise<void> {
  let [passed, failed] = [0, 0];
  // Some blocks, by name; default all.
  const only = process.env.BLOCKS?.split(',');
  for (const block of zoo.blocks.filter((b) => !only || only.includes(b.blockName))) {
    for (const index of block.definition.examples.keys()) {
      const example = exampleOf(block, index, zoo);
      const [alone] = variantsOf(example);
      const { module: built, sizes } = alone!;
      const types = Object.entries(alone!.inputs).map(
        ([name, { dtype, dims }]) => [name, [dtype, dims.map((d) => evaluateDim(d, sizes))]] as const,
      );
      const inputs = Object.fromEntries(types);
      const values = feedsFor(alone!.inputs, sizes);
      const weights = initialize(built, { seed: 5 });
      for (const dtype of ['float32', 'float16', 'bfloat16'] as const) {
        const label = { what: 'parity', block: block.blockName, dtype };
        try {
          const errors: Record<string, number> = {};
          const feeds = Object.fromEntries(Object.entries(values).map(([name, x]) => [name, toTensor(x)]));
          let expected: NDArray | undefined;
          // An order or a choice of elements that rounding changes: the result may differ by more than rounding itself.
          let rounded: () => number = () => 0;
          for (const target of [targets.portable(), fused] as Target[]) {
            const model = compile(built, { target, machine, dtype, inputs, weights });
            if (!expected) {
              const known = new Map(
                [...model.names.parameters].map(([path, p]) => [
                  p,
                  { ...toArray(castTensor(weights.get(path)!.loadSync!(), dtype)), dtype: model.computes },
                ]),
              );
              const all = { ...values, ...drawsOf(model.traced, sizes) };
              const options = { parameters: (p: Parameter) => known.get(p)! };
              const exact = interpret(model.traced, all, options);
              expected = Object.values(exact)[0]!;
              const unit = { float32: 2 ** -11, float16: 2 ** -11, bfloat16: 2 ** -8 }[dtype];
              rounded = () => Math.max(...Object.values(roundingErrors(model.traced, all, options, exact, undefined, unit)));
            }
            const draws = Object.entries(drawsOf(model.traced, sizes)).map(([name, x]) => [name, toTensor(x)] as const);
            const run = await createRunner(model, ort, cuda);
            const result = toArray(Object.values(await run({ ...feeds, ...Object.fromEntries(draws) }))[0]!);
            errors[target.name] = largest(result.data, expected.data);
            await run.dispose();
          }
          const size = expected!.data.reduce((m, x) => Math.max(m, Math.abs(x)), 0);
          // Products of float32 are made in TF32 there, which onnxruntime-node cannot switch off.
          const ulp = { float32: device === 'cuda' ? 2 ** -10 : 2 ** -23, float16: 2 ** -10, bfloat16: 2 ** -7 }[dtype] * size;
          const [portable, lowered] = Object.values(errors) as [number, number];
          const budget = Math.max(4 * portable, 4 * ulp);
          const bound = lowered <= budget ? undefined : 4 * rounded();
          const ok = bound === undefined || lowered <= bound;
          if (ok) passed++;
          else failed++;
          if (bound !== undefined) print({ ...label, example: example.given, portable, lowered, budget, rounded: bound, ok });
        } catch (error) {
          failed++;
          print({ ...label, example: example.given, error: (error as Error).message.slice(0, 300) });
        }
      }
    }
  }
  print({ what: 'parity', passed, failed });
}

const jobs: Record<string, () => Promise<void>> = {
  encoder,
  demo,
  attention,
  attentions: () => attentions(ort, fused, cuda, print),
  kernels,
  placement,
  parity,
  paged,
  examples: async () => examples(folder),
  packed: async () => packed(folder),
  decode: async () => decode(folder),
  varlen: async () => varlen(folder),
  bert: async () => bert(folder),
  zoo: () => mechanisms({ ort, target: fused, options: cuda }, folder),
  recurrences: () => recurrences({ ort, target: fused, options: cuda }, print),
  'varlen-profile': async () => varlenProfile(folder),
  windows: async () => windows(folder),
  large: async () => large(folder),
  predictions: async () => predictions(folder),
  experts: () => experts({ ort, target: fused, options: cuda }),
  // The command line, whose reports are files: node checks.mjs bench zoo --target cuda --out PATH
  bench: async () => {
    process.exitCode = await start(process.argv.slice(2), process.stdout, process.stderr);
  },
  'run-windows': () => runWindows(ort),
  'run-large': () => runLarge({ ort, target: fused, options: cuda }),
  'run-predictions': () => runPredictions({ ort, target: fused, options: cuda }),
  'layer-parts': async () => layerParts(folder),
  'shared-heads': async () => sharedHeads(folder),
  'packed-attention': async () => packedAttention(folder),
  parametrizations: async () => parametrizations(folder),
  'run-examples': () => runExamples({ ort, target: fused, options: verbose }, folder),
  'run-packed': () => runPacked({ ort, target: fused, options: cuda }),
  'run-shared-heads': () => runSharedHeads(ort),
  'run-packed-attention': () => runPackedAttention(ort),
  'run-varlen-profile': () => runVarlenProfile({ ort, target: fused, options: cuda }, folder),
  'run-layer-parts': () => runLayerParts(ort),
  'run-varlen': () => runVarlen({ ort, target: fused, options: cuda }),
  'run-bert': () => runEncoder({ ort, target: fused, options: cuda }),
  'run-parametrizations': () => runParametrizations({ ort, target: fused, options: verbose }),
  // With the runtime's own optimisation, which makes the tables of angles when it loads.
  'run-decode': () => runDecode({ ort, target: fused, options: { device } }),
};
const job = jobs[what];
if (!job) throw new Error(`no job "${what}"; there are ${Object.keys(jobs).join(', ')}`);
await job();
