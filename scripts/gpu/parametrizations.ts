// A decoder with parametrized weights: blocks of 4 bits, its tied table among them, and low-rank updates beside the weights.
import {
  compile,
  createRunner,
  initialize,
  type LazyTensor,
  lora,
  namesOf,
  type Ort,
  type Parameter,
  quantizeBlocks,
  quantizedBlocks,
  type RunnerOptions,
  reparametrize,
  type Target,
  type Tensor,
  targets,
  tensor,
  toArray,
  zoo,
} from '../../packages/onnxformers/src/index';
import { check, logged, onSizes, result, section, table } from './report';

const [vocab, batch, seq] = [997, 3, 37];
const machine = { runtime: '1.30.0', sm: 90 };
const blocks = { bits: 4, blockSize: 32 } as const;
const inputs = { ids: ['int64', ['batch', 'seq']] } as const;
const ids = tensor(
  'int64',
  [batch, seq],
  Array.from({ length: batch * seq }, (_, i) => (7 * i * i + 3 * i) % vocab),
);
const isMatrix = (p: Parameter): boolean => p.dims.length === 2 && p.options.part === 'weight';

interface Variant {
  readonly of: Parameters<typeof compile>[0];
  readonly weights: ReadonlyMap<string, Tensor | LazyTensor>;
}

async function variants(): Promise<Readonly<Record<string, Variant>>> {
  const plain = zoo.build('model', {
    name: 'causal_lm',
    dim: 256,
    vocabSize: vocab,
    tied: true,
    embedding: 'token',
    stack: {
      name: 'stack',
      depth: 2,
      norm: 'rms_norm',
      layers: {
        name: 'pre_norm',
        norm: 'rms_norm',
        mixer: { name: 'multi_head', heads: 4, kvHeads: 2, bias: false, rotaryEmbedding: 'rotary' },
        feedforward: { name: 'glu', hidden: 512, bias: false },
      },
    },
  });
  const weights = initialize(plain, { scheme: 'small', seed: 7 });
  const codes = new Map<string, Tensor | LazyTensor>();
  for (const [path, p] of namesOf(plain).parameters) {
    const weight = weights.get(path)!;
    if (!isMatrix(p)) codes.set(path, weight);
    else
      for (const [part, value] of Object.entries(quantizeBlocks(await weight.load(), blocks)))
        codes.set(path.replace(/weight$/, part), value);
  }
  const beside = reparametrize(plain, (_, p) => (isMatrix(p) ? lora(p, { rank: 4, alpha: 8 }) : undefined));
  const updates = [...initialize(beside, { scheme: 'small', seed: 11 })].map(
    ([name, t]): readonly [string, Tensor | LazyTensor] => [
      name,
      name.endsWith('lora_b') ? wave(t.dims) : (weights.get(name) ?? t),
    ],
  );
  return {
    'blocks of 4 bits': {
      of: reparametrize(plain, (_, p) => (isMatrix(p) ? quantizedBlocks(p, blocks) : undefined)),
      weights: codes,
    },
    'low-rank updates': { of: beside, weights: new Map(updates) },
  };
}

const wave = (dims: readonly number[]): Tensor =>
  tensor(
    'float32',
    dims,
    Array.from({ length: dims.reduce((a, b) => a * b, 1) }, (_, i) => 0.02 * Math.sin(i * i)),
  );

/** Runs each on the target in three dtypes, and as plain ONNX on the CPU in float32. */
export async function runParametrizations({
  ort,
  target,
  options,
}: {
  ort: Ort;
  target: Target;
  options: RunnerOptions;
}): Promise<void> {
  for (const [name, { of, weights }] of Object.entries(await variants())) {
    const logits = async (
      on: Target,
      dtype: 'float32' | 'float16' | 'bfloat16',
      how: RunnerOptions,
    ): Promise<readonly number[]> => {
      const model = compile(of, { target: on, machine, dtype, inputs, weights, assumptions: ['prefill into empty cache'] });
      const ops = model.graph.nodes.flatMap(({ op }) => (/NBits|BlockQuantized/.test(op.key) ? [op.key.split('.').at(-1)] : []));
      section(
        `${name}, ${on.name} ${dtype}: ${ops.filter((op) => op === 'MatMulNBits').length} × MatMulNBits, ${ops.length} in all`,
      );
      const run = await createRunner(model, ort, how);
      const { data } = toArray((await run({ ids })).logits!);
      await run.dispose();
      return [...data];
    };
    const expected = await logits(targets.portable(), 'float32', { device: 'cpu' });
    const size = expected.reduce((m, x) => Math.max(m, Math.abs(x)), 0);
    for (const dtype of ['float32', 'float16', 'bfloat16'] as const) {
      const got = await logits(target, dtype, options);
      result({ error: got.reduce((worst, x, i) => Math.max(worst, Math.abs(x - expected[i]!)), 0) / size, dtype });
    }
  }
}

/** Compares them. */
export function parametrizations(folder: string): void {
  const budget: Readonly<Record<string, number>> = { float32: 2 ** -9, float16: 2 ** -7, bfloat16: 2 ** -4 };
  const runs = logged('run-parametrizations', folder).filter((s) => s.result);
  table([['run', 'error'], ...runs.map((s) => [s.name, (s.result as { error: number }).error.toExponential(1)])]);
  for (const { name, onCpu, result } of runs) {
    const { error, dtype } = result as { error: number; dtype: string };
    const stray = onCpu.filter((node) => !onSizes.test(node));
    check(`${name}: as on the CPU`, error <= budget[dtype]!);
    if (process.env.DEVICE !== 'cpu')
      check(`${name}: nothing but sizes on the CPU`, stray.length === 0, stray.slice(0, 4).join(', '));
  }
}
