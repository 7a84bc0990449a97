// An encoder over sequences of different lengths: one after another without padding, against a padded batch.
import {
  compile,
  createRunner,
  embedding,
  initialize,
  linear,
  type Model,
  module,
  type Ort,
  type Runner,
  type RunnerOptions,
  type SequenceContext,
  type Target,
  type Tensor,
  tensor,
  toArray,
  type Value,
  zoo,
} from '../../packages/onnxformers/src/index';
import { check, kernelsOf, logged, median, result, section, table } from './report';

const [dim, depth, vocab, outputs] = [1024, 12, 509, 8];
const machine = { runtime: '1.30.0', sm: 90 };
/** 32 sequences of 37 to 509 tokens. */
const lengths = Array.from({ length: 32 }, (_, i) => 37 + ((i * 211) % 473));

function encoder() {
  const layers = { name: 'pre_norm', mixer: { name: 'multi_head', heads: 16 }, feedforward: { name: 'mlp', hidden: 4096 } };
  const stack = zoo.build('stack', { name: 'stack', dim, depth, layers, norm: 'layer_norm' } as never);
  const children = { embed: embedding(vocab, dim, { init: { kind: 'normal', std: 1 } }), stack, head: linear(dim, outputs) };
  return module(children, ({ ids }: Readonly<Record<string, Value>>, ctx: SequenceContext) => ({
    y: children.head(stack(children.embed(ids!), ctx) as Value),
  }));
}

const idOf = (sequence: number, i: number): number => (7 * i * i + 13 * sequence + 3 * i) % vocab;
const flat = lengths.flatMap((n, b) => Array.from({ length: n }, (_, i) => idOf(b, i)));
const longest = Math.max(...lengths);
const rectangle = lengths.flatMap((n, b) => Array.from({ length: longest }, (_, i) => (i < n ? idOf(b, i) : 0)));
const sizes = tensor('int64', [lengths.length], lengths);

/** Runs both, timed unless the runtime is asked to print its kernels; their outputs and times. */
export async function runPacked({ ort, target, options }: { ort: Ort; target: Target; options: RunnerOptions }): Promise<void> {
  const m = encoder();
  const about = { target, machine, dtype: 'float16', weights: initialize(m, { seed: 5 }) } as const;
  const models: Readonly<Record<string, readonly [Model, Record<string, Tensor>]>> = {
    packed: [
      compile(m, { ...about, layout: 'packed', inputs: { ids: ['int64', ['tokens']], lengths: ['int64', ['sequences']] } }),
      { ids: tensor('int64', [flat.length], flat), lengths: sizes },
    ],
    padded: [
      compile(m, { ...about, inputs: { ids: ['int64', ['batch', 'seq']], lengths: ['int64', ['batch']] } }),
      { ids: tensor('int64', [lengths.length, longest], rectangle), lengths: sizes },
    ],
  };
  const timed = process.env.ORT_ENABLE_ATTENTION_KERNEL_DEBUG_INFO !== '1';
  for (const [name, [model, feeds]] of Object.entries(models)) {
    section(name);
    const run: Runner = await createRunner(model, ort, options);
    const { y } = await run(feeds);
    const times: number[] = [];
    for (let i = 0; timed && i < 14; i++) {
      const start = performance.now();
      await run(feeds);
      if (i > 3) times.push(performance.now() - start);
    }
    await run.dispose();
    result({ y: [...toArray(y!).data], milliseconds: timed ? median(times) : 0 });
  }
}

/** Compares the two. */
export function packed(folder: string): void {
  const kernels = logged('run-packed', folder);
  const timed = logged('run-packed', folder, { ORT_ENABLE_ATTENTION_KERNEL_DEBUG_INFO: '0' });
  const [a, b] = timed.map((s) => s.result as { y: number[]; milliseconds: number }) as [never, never] as [
    { y: number[]; milliseconds: number },
    { y: number[]; milliseconds: number },
  ];
  table([
    ['layout', 'rows', 'milliseconds a run', 'attention kernels'],
    ['packed', flat.length, a.milliseconds.toFixed(2), kernelsOf(kernels[0]!)],
    ['padded', lengths.length * longest, b.milliseconds.toFixed(2), kernelsOf(kernels[1]!)],
  ]);
  process.stdout.write(`padded / packed: ${(b.milliseconds / a.milliseconds).toFixed(2)}\n`);
  const size = a.y.reduce((m, x) => Math.max(m, Math.abs(x)), 0);
  let [at, worst] = [0, 0];
  lengths.forEach((n, sequence) => {
    for (let i = 0; i < n * outputs; i++, at++) {
      const difference = Math.abs(a.y[at]! - b.y[sequence * longest * outputs + i]!);
      worst = Number.isFinite(difference) ? Math.max(worst, difference) : Number.POSITIVE_INFINITY;
    }
  });
  check(
    'each sequence is packed what it is padded',
    worst / size <= 2 ** -6 && at === a.y.length,
    `error ${(worst / size).toExponential(1)}`,
  );
  if (process.env.DEVICE === 'cpu') return;
  const fast = kernels[0]!.kernels.FLASH_ATTENTION ?? 0;
  check('flash attention over packed tokens in every layer', fast === depth, kernelsOf(kernels[0]!));
}
