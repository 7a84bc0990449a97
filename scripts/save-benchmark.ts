/**
 * Saves a model with large float16 weights that are read from a file tensor by tensor, compares the time with that of copying the
 * file with fsync, prints the greatest memory in use, then runs the saved model and checks a row of every weight.
 *
 *     tsx scripts/save-benchmark.ts [parameters in millions, default 1000] [tensors, default 97] [rounds, default 3] [folder]
 *
 * 2500 million parameters make a weights file beyond 4 GiB. Needs three times the size of the weights on the disk.
 */
import { copyFile, mkdtemp, open, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { fromFloat16Bits } from '../packages/core/src/float16';
import type { OnnxInitializer, OnnxModel } from '../packages/core/src/onnx/model';
import { printBytes } from '../packages/core/src/onnx/print';
import { saveOnnx } from '../packages/core/src/onnx/save';

const [millions = 1000, count = 97, rounds = 3] = process.argv.slice(2, 5).map(Number);
const width = 1031;
const rows = Math.floor((millions * 1e6) / count / width);
const bytesEach = rows * width * 2;

interface Time {
  readonly wall: number;
  readonly cpu: number;
}

async function timed(work: () => Promise<void>): Promise<Time> {
  const start = performance.now();
  const used = process.cpuUsage();
  await work();
  const { user, system } = process.cpuUsage(used);
  return { wall: (performance.now() - start) / 1e3, cpu: (user + system) / 1e6 };
}

const print = ({ wall, cpu }: Time): string => `${wall.toFixed(2)} s (${cpu.toFixed(2)} s of it computing)`;

async function synced(path: string): Promise<void> {
  const handle = await open(path, 'r+');
  await handle.sync();
  await handle.close();
}

/** A file of finite float16 numbers that do not repeat where tensors begin. */
async function makeSource(path: string): Promise<void> {
  const block = new Uint16Array(2 ** 22 + 1);
  for (let i = 0; i < block.length; i++) block[i] = Math.imul(i, 2654435761) >>> 18; // below 2^14: positive and less than 2
  const handle = await open(path, 'w');
  for (let left = bytesEach * count; left > 0; left -= block.byteLength)
    await handle.write(block, 0, Math.min(left, block.byteLength));
  await handle.sync();
  await handle.close();
}

function modelOf(initializers: readonly OnnxInitializer[]): OnnxModel {
  const pick = (i: number) => ({
    name: `pick_${i}`,
    opType: 'Gather',
    domain: '',
    inputs: [`w${i}`, 'row'],
    outputs: [`h${i}`],
    attributes: {},
  });
  const join = {
    name: 'join',
    opType: 'Concat',
    domain: '',
    inputs: initializers.map((_, i) => `h${i}`),
    outputs: ['h'],
    attributes: { axis: { type: 'int', value: 0 } },
  } as const;
  const cast = {
    name: 'cast',
    opType: 'Cast',
    domain: '',
    inputs: ['h'],
    outputs: ['y'],
    attributes: { to: { type: 'int', value: 1 } },
  } as const;
  return {
    opsets: { '': 21 },
    graph: {
      name: 'large',
      inputs: [{ name: 'row', dtype: 'int64', dims: [1] }],
      outputs: [{ name: 'y', dtype: 'float32', dims: [count, width] }],
      nodes: [...initializers.map((_, i) => pick(i)), join, cast],
      initializers,
    },
  };
}

const dir = await mkdtemp(join(process.argv[5] ?? tmpdir(), 'save-benchmark-'));
try {
  const source = join(dir, 'source.bin');
  await makeSource(source);
  const file = await open(source, 'r');
  const read = async (offset: number, bytes: number): Promise<Uint16Array> => {
    const into = new Uint8Array(bytes);
    for (let done = 0; done < bytes; )
      done += (await file.read(into, done, Math.min(bytes - done, 2 ** 30), offset + done)).bytesRead;
    return new Uint16Array(into.buffer);
  };
  const model = modelOf(
    Array.from({ length: count }, (_, i): OnnxInitializer => {
      const data = async () => ({ dtype: 'float16' as const, dims: [rows, width], data: await read(i * bytesEach, bytesEach) });
      return { name: `w${i}`, dtype: 'float16', dims: [rows, width], data };
    }),
  );
  console.log(
    `${count} tensors of ${printBytes(bytesEach)}, ${printBytes((await stat(source)).size)} in all, Node ${process.versions.node}`,
  );
  const before = process.memoryUsage().rss;
  let peak = before;
  const watch = setInterval(() => {
    peak = Math.max(peak, process.memoryUsage().rss);
  }, 5);
  for (let round = 1; round <= rounds; round++) {
    const copying = await timed(async () => {
      await copyFile(source, join(dir, 'copy.bin'));
      await synced(join(dir, 'copy.bin'));
    });
    await rm(join(dir, 'copy.bin'));
    await rm(join(dir, 'model'), { recursive: true, force: true });
    const saving = await timed(() => saveOnnx(model, join(dir, 'model')));
    console.log(
      `round ${round}: copy with fsync ${print(copying)}, save ${print(saving)}, ratio ${(saving.wall / copying.wall).toFixed(2)}`,
    );
  }
  clearInterval(watch);
  console.log(
    `memory: ${printBytes(before)} before, at most ${printBytes(peak)} while saving, ${printBytes(peak - before)} more`,
  );

  const loading = performance.now();
  const session = await InferenceSession.create(join(dir, 'model/model.onnx'), { graphOptimizationLevel: 'disabled' });
  const { y } = await session.run({ row: new Tensor('int64', BigInt64Array.of(BigInt(rows - 1)), [1]) });
  const got = y!.data as Float32Array;
  for (let i = 0; i < count; i++) {
    const expected = await read((i + 1) * bytesEach - width * 2, width * 2);
    const wrong = expected.findIndex((bits, j) => fromFloat16Bits(bits) !== got[i * width + j]);
    if (wrong >= 0)
      throw new Error(`w${i}[${rows - 1}, ${wrong}] is ${got[i * width + wrong]}, expected ${fromFloat16Bits(expected[wrong]!)}`);
  }
  console.log(
    `loaded, run and checked in ${((performance.now() - loading) / 1000).toFixed(2)} s; process holds ${printBytes(process.memoryUsage().rss)}`,
  );
  await session.release();
  await file.close();
} finally {
  await rm(dir, { recursive: true });
}
