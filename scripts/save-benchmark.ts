/**
 * Saves a decoder of about 1 B parameters in float16, read from a safetensors file tensor by tensor, and compares the time with that of copying the
 * same file with fsync, in one run: once with the queries, keys and values as the checkpoint has them, once packed into one weight while they
 * are read. Prints the peak memory, then checks that both folders contain the same weights, and that they equal those of the file.
 *
 *     node --conditions=@onnxformers/source --import tsx scripts/save-benchmark.ts [layers, default 18] [rounds, default 5] [folder]
 *
 * 50 layers make a weights file beyond 4 GiB. Needs four times the size of the weights (2 GB at 18 layers) on the disk.
 */
import { createHash } from 'node:crypto';
import { copyFile, mkdtemp, open, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openWeights, save, saveSafetensors } from '../packages/core/src/node';
import { readOnnx } from '../packages/core/src/onnx/decode';
import { isExternal } from '../packages/core/src/onnx/model';
import { printBytes } from '../packages/core/src/onnx/print';
import { compile, expressWeight, type LazyTensor, namesOf, ops, targets, zoo } from '../packages/onnxformers/src/index';

const [depth = 18, rounds = 5] = process.argv.slice(2, 4).map(Number);

const decoder = (fused: boolean) =>
  zoo.build('model', {
    name: 'causal_lm',
    dim: 2048,
    vocabSize: 32_003,
    tied: true,
    embedding: 'token',
    stack: {
      name: 'stack',
      depth,
      norm: 'rms_norm',
      layers: {
        name: 'pre_norm',
        norm: 'rms_norm',
        mixer: { name: 'multi_head', heads: 16, bias: false, rotaryEmbedding: 'rotary', fused },
        feedforward: { name: 'glu', hidden: 5504, bias: false },
      },
    },
  });

/** Finite float16 numbers that differ from weight to weight. */
const pattern = Uint16Array.from({ length: 2 ** 22 + 3 }, (_, i) => Math.imul(i, 2654435761) >>> 18); // below 2^14: less than 2
function invented(dims: readonly number[], which: number): LazyTensor {
  const count = dims.reduce((a, b) => a * b, 1);
  const load = async () => {
    const data = new Uint16Array(count);
    for (let at = 0, from = (which * 7919) % pattern.length; at < count; from = 0) {
      const piece = pattern.subarray(from, from + Math.min(pattern.length - from, count - at));
      data.set(piece, at);
      at += piece.length;
    }
    return { dtype: 'float16' as const, dims, data };
  };
  return { dtype: 'float16', dims, byteLength: 2 * count, load };
}

/** The checkpoint's queries, keys and values as one weight. */
function packed(weights: ReadonlyMap<string, LazyTensor>): Map<string, LazyTensor> {
  const result = new Map(weights);
  for (const name of weights.keys()) {
    if (!name.endsWith('.q_proj.weight')) continue;
    const parts = ['q', 'k', 'v'].map((which) => name.replace('.q_proj.', `.${which}_proj.`));
    result.set(
      name.replace('.q_proj.', '.qkv_proj.'),
      expressWeight(
        parts.map((part) => weights.get(part)!),
        (...rows) => ops.concat(rows, 0),
      ),
    );
    for (const part of parts) result.delete(part);
  }
  return result;
}

async function seconds(work: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1e3;
}

async function copySynced(from: string, to: string): Promise<void> {
  await copyFile(from, to);
  const handle = await open(to, 'r+');
  await handle.sync();
  await handle.close();
}

/** A digest of every weight above 1 MiB in a saved folder, sorted. */
async function digests(dir: string): Promise<readonly string[]> {
  const file = await open(join(dir, 'model.onnx'), 'r');
  const { graph } = readOnnx(new Uint8Array(await file.readFile()), dir);
  await file.close();
  const weights = await open(join(dir, 'weights.bin'), 'r');
  const all: string[] = [];
  for (const { dtype, dims, data } of graph.initializers) {
    if (!isExternal(data) || data.length < 2 ** 20) continue;
    const bytes = new Uint8Array(data.length);
    await weights.read(bytes, 0, data.length, data.offset);
    all.push(`${dtype}[${dims}] ${createHash('sha256').update(bytes).digest('hex')}`);
  }
  await weights.close();
  return all.sort();
}

const digest = (data: Uint16Array): string =>
  createHash('sha256')
    .update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    .digest('hex');

/** A weight of the file in the layout of MatMul: [in, out]. */
async function turned(weight: LazyTensor): Promise<string> {
  const { dims, data } = await weight.load();
  const [out, inner] = dims as [number, number];
  const result = new Uint16Array(data.length);
  for (let o = 0; o < out; o++) for (let i = 0; i < inner; i++) result[i * out + o] = (data as Uint16Array)[o * inner + i]!;
  return `float16[${inner},${out}] ${digest(result)}`;
}

const median = (xs: readonly number[]): number => [...xs].sort((a, b) => a - b)[xs.length >> 1]!;
const dir = await mkdtemp(join(process.argv[4] ?? tmpdir(), 'save-benchmark-'));
try {
  const source = join(dir, 'source.safetensors');
  const shapes = [...namesOf(decoder(false)).parameters].map(([name, { dims }]) => [name, dims] as const);
  await saveSafetensors(
    source,
    shapes.map(([name, dims], i) => [name, invented(dims, i)] as const),
  );
  const checkpoint = await openWeights(source);
  const parameters = shapes.reduce((n, [, dims]) => n + dims.reduce((a, b) => a * b, 1), 0);
  const largest = Math.max(...[...checkpoint.values()].map(({ byteLength }) => byteLength));
  console.log(
    `${(parameters / 1e9).toFixed(2)} B parameters in ${shapes.length} tensors, ${printBytes((await stat(source)).size)}, the largest ${printBytes(largest)}; Node ${process.versions.node}`,
  );
  const options = { target: targets.cuda, dtype: 'float16', inputs: { ids: ['int64', ['batch', 'seq']] } } as const;
  const ways = {
    'q, k, v apart': compile(decoder(false), { ...options, weights: checkpoint }),
    'q|k|v packed': compile(decoder(true), { ...options, weights: packed(checkpoint) }),
  };
  const ratios: Record<string, number[]> = {};
  const before = process.memoryUsage.rss();
  for (let round = 1; round <= rounds; round++) {
    const copy = await seconds(() => copySynced(source, join(dir, 'copy')));
    await rm(join(dir, 'copy'));
    for (const [name, model] of Object.entries(ways)) {
      await rm(join(dir, name), { recursive: true, force: true });
      const time = await seconds(() => save(model, join(dir, name)));
      ratios[name] = [...(ratios[name] ?? []), time / copy];
      console.log(
        `round ${round}, ${name}: copy with fsync ${copy.toFixed(2)} s, save ${time.toFixed(2)} s, ratio ${(time / copy).toFixed(2)}`,
      );
    }
  }
  for (const [name, all] of Object.entries(ratios)) console.log(`${name}: median ratio ${median(all).toFixed(2)}`);
  console.log(
    `memory while saving: at most ${printBytes(process.resourceUsage().maxRSS * 1024 - before)} more than the ${printBytes(before)} before`,
  );

  const [apart, together] = [await digests(join(dir, 'q, k, v apart')), await digests(join(dir, 'q|k|v packed'))];
  if (apart.join() !== together.join()) throw new Error('the two ways saved different weights');
  for (const name of [...checkpoint.keys()].filter((n) => /\.(q|k|v|up)_proj\.weight$/.test(n)).slice(0, 8))
    if (!apart.includes(await turned(checkpoint.get(name)!))) throw new Error(`${name} is not in the saved model`);
  console.log(`${apart.length} weights are the same both ways, and those of the file`);
} finally {
  await rm(dir, { recursive: true });
}
