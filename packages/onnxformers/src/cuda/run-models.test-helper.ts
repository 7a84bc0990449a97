// Runs each model of a list once on the CUDA provider, and prints its name between the runtime's own lines.
//     node --import tsx run-models.test-helper.ts JOBS.json
// ONNXRUNTIME_NODE: the runtime's package.
import { readFileSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';

/** A model: its file, external files, the path of the optimised model, and the values of its inputs. */
export interface Job {
  readonly model: string;
  readonly external: readonly { readonly path: string; readonly data: string }[];
  readonly optimized: string;
  readonly feeds: Readonly<Record<string, { readonly type: string; readonly dims: readonly number[]; readonly fill: number }>>;
}

const ort = createRequire(import.meta.url)(
  process.env.ONNXRUNTIME_NODE ?? 'onnxruntime-node',
) as typeof import('onnxruntime-node');
const say = (text: string) => writeSync(1, `\n@@${text}\n`);

function filled(type: string, size: number, fill: number) {
  if (type === 'int64') return new BigInt64Array(size).fill(BigInt(fill));
  const arrays = { float32: Float32Array, float16: Uint16Array, int32: Int32Array, int8: Int8Array, bool: Uint8Array };
  return new arrays[type as keyof typeof arrays](size).fill(fill);
}

async function run({ model, external, optimized, feeds }: Job): Promise<void> {
  const externalData = external.map(({ path, data }) => ({ path, data: readFileSync(data) }));
  const options = { executionProviders: ['cuda'], logSeverityLevel: 0, optimizedModelFilePath: optimized, externalData } as const;
  const session = await ort.InferenceSession.create(model, options);
  const tensors = Object.entries(feeds).map(([name, { type, dims, fill }]) => {
    const size = dims.reduce((a, b) => a * b, 1);
    return [name, new ort.Tensor(type as 'float32', filled(type, size, fill) as Float32Array, dims)] as const;
  });
  await session.run(Object.fromEntries(tensors));
  await session.release();
}

const jobs = JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as readonly Job[];
for (const [i, job] of jobs.entries()) {
  say(`model ${i}`);
  try {
    await run(job);
    say('done');
  } catch (error) {
    say(`failed ${String((error as Error)?.message ?? error).replace(/\s+/g, ' ')}`);
  }
}
process.exit(0);
