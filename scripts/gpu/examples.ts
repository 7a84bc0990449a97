// The computations of the examples: where their nodes run, and that they give there what they give on the CPU.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { attention } from '../../examples/one-block/byte-features';
import { cosineAttention } from '../../examples/own-attention/cosine-attention';
import {
  type CompileOptions,
  compile,
  createRunner,
  generate,
  initialize,
  type KindModule,
  module,
  type Ort,
  type RunnerOptions,
  type Target,
  type Tensor,
  tensor,
  toArray,
  type Value,
  zoo,
} from '../../packages/onnxformers/src/index';
import { check, kernelsOf, logged, onSizes, result, section, table } from './report';

type DType = 'float32' | 'float16';
interface Setting {
  readonly ort: Ort;
  readonly target: Target;
  readonly options: RunnerOptions;
}

const prompt = [...Buffer.from('Prime')];
const [seed, steps] = [3, 24];
const ids = { ids: ['int64', ['batch', 'seq']] } as const;
const assumptions = ['prefill into empty cache'] as const;
const machine = { runtime: '1.30.0', sm: 90 };
const batchOf = (bytes: readonly number[]): Tensor => tensor('int64', [1, bytes.length], bytes);
const wave = (dtype: DType, dims: readonly number[]): Tensor =>
  tensor(
    dtype,
    dims,
    Float64Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(i * i)),
  );

function likeliest(logits: Tensor): number {
  const { data, dims } = toArray(logits);
  const row = data.subarray((dims[1]! - 1) * dims[2]!);
  return row.indexOf(row.reduce((a, b) => Math.max(a, b)));
}

async function byStep(model: KindModule<'model'>, dtype: DType, { ort, target, options }: Setting): Promise<number[]> {
  const weights = initialize(model, { scheme: 'small', seed });
  const run = await createRunner(
    compile(model, { target, machine, dtype, inputs: ids, weights, state: 'io', assumptions }),
    ort,
    options,
  );
  const generated: number[] = [];
  let kept: Record<string, Tensor> = {};
  for (let next: readonly number[] = prompt; generated.length < steps; next = generated.slice(-1)) {
    const { logits, ...present } = await run({ ids: batchOf(next), ...kept });
    kept = Object.fromEntries(Object.entries(present).map(([name, t]) => [name.replace('present.', 'past_key_values.'), t]));
    generated.push(likeliest(logits!));
  }
  await run.dispose();
  return generated;
}

async function inLoop(model: KindModule<'model'>, dtype: DType, { ort, target, options }: Setting): Promise<number[]> {
  const generation = module(model.children, ({ ids: given }: Readonly<Record<string, Value>>) => ({
    tokens: generate(given!.graph.root, {
      prompt: given!,
      steps,
      capacity: 32,
      step: (next, ctx) => model.forward({ ids: next }, ctx).logits!,
    }),
  }));
  const weights = initialize(model, { scheme: 'small', seed });
  const run = await createRunner(
    compile(generation, { target, machine, dtype, inputs: ids, weights, assumptions }),
    ort,
    options,
  );
  const { tokens } = await run({ ids: batchOf(prompt) });
  await run.dispose();
  return Array.from(tokens!.data as BigInt64Array, Number);
}

async function once(
  m: Parameters<typeof compile>[0],
  o: Pick<CompileOptions, 'inputs' | 'dtype'>,
  feeds: Readonly<Record<string, Tensor>>,
  { ort, target, options }: Setting,
): Promise<number[]> {
  const model = compile(m, { target, machine, weights: initialize(m, { seed: 1 }), ...o });
  const run = await createRunner(model, ort, options);
  const [y] = Object.values(await run(feeds));
  await run.dispose();
  return [...toArray(y!).data];
}

function ownAttention(): Parameters<typeof compile>[0] {
  const layers = {
    name: 'pre_norm',
    mixer: { name: 'multi_head', heads: 4, attention: { name: 'cosine', maxScale: 50 } },
    feedforward: 'mlp',
  };
  return zoo
    .with(cosineAttention)
    .build('model', { name: 'encoder', dim: 32, stack: { name: 'stack', depth: 2, layers } } as never);
}

/** Runs every example in both dtypes, each in a section of the log. */
export async function runExamples(setting: Setting, folder: string): Promise<void> {
  const lm = zoo.parse('model', JSON.parse(readFileSync(join(folder, 'causal-lm.json'), 'utf8')));
  const lengths = tensor('int64', [2], [7, 4]);
  for (const dtype of ['float32', 'float16'] as const) {
    const of = (dims: readonly (string | number)[]) => ({ x: [dtype, dims], lengths: ['int64', ['batch']] }) as const;
    const runs: Record<string, () => Promise<number[]>> = {
      'causal-lm, a run for each token': () => byStep(lm, dtype, setting),
      'causal-lm, one run': () => inLoop(lm, dtype, setting),
      'one-block': () =>
        once(attention(), { dtype, inputs: of(['batch', 'seq', 24]) }, { x: wave(dtype, [2, 7, 24]), lengths }, setting),
      'own-attention': () =>
        once(ownAttention(), { dtype, inputs: of(['batch', 'seq', 32]) }, { x: wave(dtype, [2, 7, 32]), lengths }, setting),
    };
    for (const [name, run] of Object.entries(runs)) {
      section(`${name}, ${dtype}`);
      result(await run());
    }
  }
}

/** Compares the examples here with those on the CPU, and checks where their nodes were placed. */
export function examples(folder: string): void {
  const here = logged('run-examples', folder);
  const onCpu = logged('run-examples', folder, { DEVICE: 'cpu' });
  const expected = new Map(onCpu.map((s) => [s.name, s.result as readonly number[]]));
  const rows: (string | number)[][] = [['example', 'attention kernels', 'nodes on the CPU', 'against float32 on the CPU']];
  for (const s of here) {
    const got = s.result as readonly number[];
    const exact = expected.get(s.name.replace('float16', 'float32'))!;
    const isTokens = s.name.startsWith('causal-lm');
    const half = s.name.endsWith('float16');
    const same = got.filter((x, i) => x === exact[i]).length;
    const size = exact.reduce((m, x) => Math.max(m, Math.abs(x)), 0);
    const error = Math.max(...exact.map((x, i) => Math.abs(x - got[i]!))) / size;
    rows.push([
      s.name,
      kernelsOf(s),
      s.onCpu.length,
      isTokens ? `${same} of ${exact.length} tokens` : `error ${error.toExponential(1)}`,
    ]);
    const floats = s.onCpu.filter((n) => !onSizes.test(n));
    if (process.env.DEVICE !== 'cpu')
      check(`${s.name}: only arithmetic on sizes on the CPU`, floats.length === 0, floats.join(', ') || s.onCpu.join(', '));
    if (isTokens && !half) check(`${s.name}: the tokens of the CPU`, same === exact.length && got.length === exact.length);
    // Products of float32 are made in TF32 on a GPU.
    if (!isTokens) check(`${s.name}: the numbers of the CPU`, error <= 2 ** -6, error.toExponential(1));
  }
  table(rows);
}
