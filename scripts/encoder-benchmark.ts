/**
 * A model of BERT-base's shape with random weights on a batch of 32 sequences of different lengths, at most 128 tokens: as `fromPretrained` and `compile` make it, packed and padded,
 * beside the same checkpoint exported by torch.onnx and optimised for ONNX Runtime, and beside PyTorch itself (scaled_dot_product_attention, eager). All four run in turn; elapsed
 * and processor times are printed, and the largest difference from PyTorch's hidden states.
 *
 *     node --conditions=@onnxformers/source --import tsx scripts/encoder-benchmark.ts [rounds, default 9] [threads, default 2] [python, default python3]
 *
 * Without Python, torch and onnxruntime only our two are measured. Needs 1.5 GB on the disk, which it frees.
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import * as ort from 'onnxruntime-node';
import { saveSafetensors } from '../packages/core/src/node';
import { fromPretrained } from '../packages/models/src/node';
import { spreadLengths } from '../packages/onnxformers/src/bench/varlen';
import { compile, createRunner, type LazyTensor, targets, tensor } from '../packages/onnxformers/src/index';

const [rounds, threads, python] = [Number(process.argv[2] ?? 9), Number(process.argv[3] ?? 2), process.argv[4] ?? 'python3'];
const [dim, depth, hidden, vocab, longest] = [768, 12, 3072, 30_522, 128];
const lengths = spreadLengths(32, longest, 0.6731);
const width = Math.max(...lengths);
const tokens = lengths.reduce((a, b) => a + b, 0);

const config = {
  model_type: 'bert',
  architectures: ['BertModel'],
  hidden_size: dim,
  num_hidden_layers: depth,
  num_attention_heads: 12,
  intermediate_size: hidden,
  vocab_size: vocab,
  max_position_embeddings: 512,
  type_vocab_size: 2,
  hidden_act: 'gelu',
  layer_norm_eps: 1e-12,
};

/** Numbers between -1/28 and 1/28, as wide as BERT's initialisation; gains of norms are 1. */
function invented(name: string, dims: readonly number[], which: number): LazyTensor {
  const count = dims.reduce((a, b) => a * b, 1);
  const number = (i: number): number =>
    name.endsWith('LayerNorm.weight') ? 1 : ((Math.imul(i + 7919 * which, 2654435761) >>> 8) / 2 ** 24 - 0.5) / 14;
  const load = async () => ({ dtype: 'float32' as const, dims, data: Float32Array.from({ length: count }, (_, i) => number(i)) });
  return { dtype: 'float32', dims, byteLength: 4 * count, load };
}

const linear = (name: string, to: number, from: number): [string, readonly number[]][] => [
  [`${name}.weight`, [to, from]],
  [`${name}.bias`, [to]],
];
const norm = (name: string): [string, readonly number[]][] => [
  [`${name}.LayerNorm.weight`, [dim]],
  [`${name}.LayerNorm.bias`, [dim]],
];
const shapes: readonly [string, readonly number[]][] = [
  ['embeddings.word_embeddings.weight', [vocab, dim]],
  ['embeddings.position_embeddings.weight', [512, dim]],
  ['embeddings.token_type_embeddings.weight', [2, dim]],
  ...norm('embeddings'),
  ...Array.from({ length: depth }, (_, i) => `encoder.layer.${i}`).flatMap((layer) => [
    ...['query', 'key', 'value'].flatMap((part) => linear(`${layer}.attention.self.${part}`, dim, dim)),
    ...linear(`${layer}.attention.output.dense`, dim, dim),
    ...norm(`${layer}.attention.output`),
    ...linear(`${layer}.intermediate.dense`, hidden, dim),
    ...linear(`${layer}.output.dense`, dim, hidden),
    ...norm(`${layer}.output`),
  ]),
];

const ids = lengths.map((n, s) => Array.from({ length: n }, (_, i) => (7919 * i * i + 104_729 * s + 31 * i) % vocab));
const padded = (of: (row: readonly number[]) => readonly number[]) =>
  ids.flatMap((row) => [...of(row), ...new Array<number>(width - row.length).fill(0)]);
const ones = (row: readonly number[]) => row.map(() => 1);

/** What a run took in milliseconds. */
interface Taken {
  readonly wall: number;
  readonly cpu: number;
}
interface Way {
  readonly name: string;
  run(): Promise<Taken>;
  /** The hidden states of the real tokens, one sequence after another. */
  rows(): Promise<Float32Array>;
}

/** Runs something in this process. */
function here(name: string, call: () => Promise<Float32Array>, realRows: (all: Float32Array) => Float32Array): Way {
  return {
    name,
    async run() {
      const [start, before] = [performance.now(), process.cpuUsage()];
      await call();
      const { user, system } = process.cpuUsage(before);
      return { wall: performance.now() - start, cpu: (user + system) / 1e3 };
    },
    rows: async () => realRows(await call()),
  };
}

const fromPadded = (all: Float32Array): Float32Array => {
  const rows = new Float32Array(tokens * dim);
  let at = 0;
  for (const [s, n] of lengths.entries()) {
    rows.set(all.subarray(s * width * dim, (s * width + n) * dim), at);
    at += n * dim;
  }
  return rows;
};

const session = { intraOpNumThreads: threads, interOpNumThreads: 1 };

async function ours(folder: string): Promise<readonly Way[]> {
  const { module, weights } = await fromPretrained(folder);
  const kinds = {
    packed: ['tokens'],
    padded: ['batch', 'seq'],
  } as const;
  const feeds = {
    packed: { ids: tensor('int64', [tokens], ids.flat()), token_type_ids: tensor('int64', [tokens], new Array(tokens).fill(0)) },
    padded: {
      ids: tensor(
        'int64',
        [32, width],
        padded((row) => row),
      ),
      token_type_ids: tensor('int64', [32, width], new Array(32 * width).fill(0)),
    },
  };
  const ways: Way[] = [];
  for (const layout of ['packed', 'padded'] as const) {
    const inputs = {
      ids: ['int64', kinds[layout]],
      token_type_ids: ['int64', kinds[layout]],
      lengths: ['int64', ['batch']],
    } as const;
    const model = compile(module, { target: targets.cpu, inputs, weights, layout });
    const counts = new Map<string, number>();
    for (const { op } of model.graph.nodes) counts.set(op.key, (counts.get(op.key) ?? 0) + 1);
    console.log(`${layout}: ${[...counts].map(([key, n]) => `${n} ${key}`).join(', ')}`);
    const runner = await createRunner(model, ort, { session });
    const all = { ...feeds[layout], lengths: tensor('int64', [32], lengths) };
    const call = async () => (await runner(all)).hidden_states!.data as Float32Array;
    ways.push(here(`onnxformers, ${layout}`, call, layout === 'packed' ? (rows) => rows : fromPadded));
  }
  return ways;
}

/** Python in a process of its own, which exports the checkpoint and then runs PyTorch for each line that it is sent. */
async function others(folder: string): Promise<{ readonly ways: readonly Way[]; close(): void }> {
  const script = fileURLToPath(new URL('encoder-benchmark.py', import.meta.url));
  await writeFile(join(folder, 'batch.json'), JSON.stringify({ ids, width, threads }));
  const child: ChildProcessWithoutNullStreams = spawn(python, [script, folder]);
  child.stderr.on('data', (text: Buffer) => process.stderr.write(text));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const answer = async <T>(): Promise<T> => {
    const { value, done } = await lines.next();
    if (done) throw new Error('Python has ended');
    return JSON.parse(value as string) as T;
  };
  console.log(JSON.stringify(await answer<object>()));
  const exported = await ort.InferenceSession.create(join(folder, 'optimised.onnx'), session);
  const int64 = (numbers: readonly number[]) => new ort.Tensor('int64', BigInt64Array.from(numbers, BigInt), [32, width]);
  const feeds: Record<string, ort.Tensor> = {
    input_ids: int64(padded((row) => row)),
    attention_mask: int64(padded(ones)),
    token_type_ids: int64(new Array(32 * width).fill(0)),
  };
  const call = async () => (await exported.run(feeds))[exported.outputNames[0]!]!.data as Float32Array;
  const torch: Way = {
    name: 'PyTorch, eager, padded',
    async run() {
      child.stdin.write('run\n');
      return answer<Taken>();
    },
    async rows() {
      const bytes = await readFile(join(folder, 'expected.bin'));
      return fromPadded(new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4));
    },
  };
  return { ways: [here('exported and optimised, padded', call, fromPadded), torch], close: () => child.stdin.end() };
}

const median = (xs: readonly number[]): number => [...xs].sort((a, b) => a - b)[xs.length >> 1]!;

const folder = await mkdtemp(join(tmpdir(), 'encoder-benchmark-'));
try {
  await writeFile(join(folder, 'config.json'), JSON.stringify(config));
  await saveSafetensors(
    join(folder, 'model.safetensors'),
    shapes.map(([name, dims], i) => [name, invented(name, dims, i)] as const),
    { metadata: { format: 'pt' } },
  );
  console.log(
    `${tokens} tokens in 32 sequences, padded to ${32 * width}; ${threads} threads, Node ${process.versions.node}, ${cpus()[0]?.model}`,
  );
  const own = await ours(folder);
  const { ways: theirs, close } = await others(folder).catch((error: unknown) => {
    console.log(`only our own: ${(error as Error).message}`);
    return { ways: [] as readonly Way[], close: () => undefined };
  });
  const ways = [...own, ...theirs];
  const expected = await ways.at(-1)!.rows();
  const times = ways.map((): Taken[] => []);
  const off: number[] = [];
  for (const way of ways) {
    const rows = await way.rows();
    off.push(rows.reduce((most, x, i) => Math.max(most, Math.abs(x - expected[i]!)), 0));
    await way.run();
  }
  for (let round = 0; round < rounds; round++) for (const [i, way] of ways.entries()) times[i]!.push(await way.run());
  console.log('| way | elapsed ms | CPU ms | elapsed, to the first | CPU, to the first | largest difference |');
  console.log('| --- | --- | --- | --- | --- | --- |');
  for (const [i, { name }] of ways.entries()) {
    const of = (key: keyof Taken) => times[i]!.map((taken) => taken[key]);
    const ratio = (key: keyof Taken) => median(of(key).map((t, round) => t / times[0]![round]![key]));
    const cells = [
      ...(['wall', 'cpu'] as const).map((key) => median(of(key)).toFixed(0)),
      ratio('wall').toFixed(2),
      ratio('cpu').toFixed(2),
    ];
    console.log(`| ${[name, ...cells, off[i]!.toExponential(1)].join(' | ')} |`);
  }
  close();
} finally {
  await rm(folder, { recursive: true });
}
process.exit();
