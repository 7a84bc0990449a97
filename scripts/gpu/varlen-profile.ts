// Where the time of the packed model of bench/varlen.ts goes on a GPU: by op with kernels that the host waits for, and between JavaScript and the runtime.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { varlenCase, varlenSizes, varlenWeights } from '../../packages/onnxformers/src/bench/varlen';
import { createRunner, type Ort, type RunnerOptions, type Target } from '../../packages/onnxformers/src/index';
import { logged, median, result, section, table } from './report';

const machine = { runtime: '1.30.0', sm: 90 };
const dtype = (process.env.DTYPE ?? 'float16') as 'float16' | 'bfloat16';
const masks = (process.env.MASKS ?? 'bidirectional,causal').split(',');
const profiled = process.env.CUDA_LAUNCH_BLOCKING === '1';
const small = { ...varlenSizes, depth: 2, heads: 3, hidden: 61, vocabSize: 53, lengths: [3, 11, 8] };

/** Events of one node in a profile, in microseconds. */
interface Timed {
  readonly name: string;
  readonly op: string;
  readonly microseconds: number;
}

/** Runs the models of one dtype. With CUDA_LAUNCH_BLOCKING=1 it profiles them; else it times the runner, and the runtime inside of it. */
export async function runVarlenProfile(
  { ort, target, options }: { ort: Ort; target: Target; options: RunnerOptions },
  folder: string,
): Promise<void> {
  const sizes = target.name === 'cuda' && process.env.SMALL !== '1' ? varlenSizes : small;
  const weights = varlenWeights(sizes, dtype);
  for (const mask of masks) {
    section(`${dtype} ${mask}`);
    const { model, feeds } = varlenCase(
      sizes,
      { causal: mask === 'causal', layout: 'packed' },
      { target, machine, dtype, weights },
    );
    const out = join(folder, 'profile');
    if (profiled) {
      rmSync(out, { recursive: true, force: true });
      mkdirSync(out, { recursive: true });
    }
    const inside: number[] = [];
    const session = { ...options.session, ...(profiled && { enableProfiling: true, profileFilePrefix: join(out, 'p') }) };
    const run = await createRunner(model, watched(ort, inside), { ...options, session });
    const times: number[] = [];
    for (let i = 0; i < (profiled ? 4 : 30); i++) {
      const start = performance.now();
      await run(feeds);
      times.push(performance.now() - start);
    }
    await run.dispose();
    if (profiled) result({ nodes: readProfile(out), milliseconds: times.at(-1) });
    else result({ milliseconds: median(times.slice(5)), inside: median(inside.slice(5)), first: times[0] });
  }
}

/** The same runtime, with the milliseconds of each run of a session noted. */
function watched(ort: Ort, inside: number[]): Ort {
  const create = async (...given: Parameters<Ort['InferenceSession']['create']>) => {
    const session = await ort.InferenceSession.create(...given);
    const run = session.run.bind(session);
    session.run = (async (...args: Parameters<typeof run>) => {
      const start = performance.now();
      const outputs = await run(...args);
      inside.push(performance.now() - start);
      return outputs;
    }) as typeof session.run;
    return session;
  };
  return { ...ort, Tensor: ort.Tensor, InferenceSession: { ...ort.InferenceSession, create } as Ort['InferenceSession'] };
}

/** Nodes of the last run, of all files of a folder. */
function readProfile(folder: string): readonly Timed[] {
  const events = readdirSync(folder).flatMap((f) => JSON.parse(readFileSync(join(folder, f), 'utf8')) as readonly Event[]);
  const runs = events.filter((e) => e.name === 'model_run');
  const last = runs.at(-1);
  const nodes = events.filter((e) => e.cat === 'Node' && e.name.endsWith('_kernel_time') && (!last || e.ts >= last.ts));
  return nodes.map((e) => ({
    name: e.name.replace(/_kernel_time$/, ''),
    op: `${e.args.op_name} ${shapes(e.args.input_type_shape)}`,
    microseconds: e.dur,
  }));
}
interface Event {
  readonly cat: string;
  readonly name: string;
  readonly ts: number;
  readonly dur: number;
  readonly args: { readonly op_name: string; readonly input_type_shape?: readonly Readonly<Record<string, readonly number[]>>[] };
}
const shapes = (given: Event['args']['input_type_shape']): string =>
  (given ?? [])
    .slice(0, 2)
    .map((x) => Object.values(x).map((dims) => `[${dims.join(',')}]`))
    .join(' ');

/** Three processes: timed; with every launch waited for; and with the runtime's own search for faster products. */
export function varlenProfile(folder: string): void {
  const timed = logged('run-varlen-profile', folder, { ORT_ENABLE_ATTENTION_KERNEL_DEBUG_INFO: '0' });
  const tuned = logged('run-varlen-profile', folder, {
    ORT_ENABLE_ATTENTION_KERNEL_DEBUG_INFO: '0',
    ORT_CUDA_TUNABLE_OP_ENABLE: '1',
    ORT_CUDA_TUNABLE_OP_TUNING_ENABLE: '1',
    MASKS: 'bidirectional',
  });
  table([
    ['case', 'ms a run', 'of these in the runtime', 'first run'],
    ...[...timed, ...tuned].map(({ name, result: given }, i) => {
      const { milliseconds, inside, first } = given as { milliseconds: number; inside: number; first: number };
      const label = i < timed.length ? name : `${name}, tunable ops`;
      return [label, milliseconds.toFixed(2), inside.toFixed(2), first.toFixed(0)];
    }),
  ]);
  const waited = logged('run-varlen-profile', folder, {
    ORT_ENABLE_ATTENTION_KERNEL_DEBUG_INFO: '0',
    CUDA_LAUNCH_BLOCKING: '1',
  });
  for (const { name, result: given } of waited) {
    const { nodes, milliseconds } = given as { nodes: readonly Timed[]; milliseconds: number };
    process.stdout.write(`\n${name}, every launch waited for: ${milliseconds.toFixed(2)} ms\n`);
    const sums = new Map<string, { count: number; total: number }>();
    for (const { op, microseconds } of nodes) {
      const { count, total } = sums.get(op) ?? { count: 0, total: 0 };
      sums.set(op, { count: count + 1, total: total + microseconds });
    }
    const sorted = [...sums].sort(([, a], [, b]) => b.total - a.total);
    table([
      ['op', 'nodes', 'ms', 'µs a node'],
      ...sorted.map(([op, { count, total }]) => [op, count, (total / 1000).toFixed(3), (total / count).toFixed(1)]),
    ]);
  }
  if (existsSync(join(folder, 'profile'))) rmSync(join(folder, 'profile'), { recursive: true });
}
