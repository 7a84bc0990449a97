// Every mechanism by length on a GPU, beside exact attention in the same run.
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { attentionsOf, kernelsOf } from '../../packages/onnxformers/src/bench/kernels';
import { exact, measureZoo, zooSubjects } from '../../packages/onnxformers/src/bench/zoo';
import type { Ort, RunnerOptions, Target } from '../../packages/onnxformers/src/index';
import { check, table } from './report';

const machine = { runtime: '1.30.0', sm: 90 };

interface Figure {
  readonly subject: string;
  readonly seq: number;
  readonly ms?: number;
  readonly spread?: number;
  readonly faster?: number;
  readonly gigaflop?: number;
  readonly largestMb?: number;
  /** MiB of the device that the first call took. */
  readonly deviceMb?: number;
  readonly kernels?: string;
  readonly reason?: string;
}

/** A run that fails on the device ends all that follow in this process: what keeps a number for every pair comes last. */
const keepsPairs = (name: string): boolean => /^(lambda|compositional)/.test(name);

/** MiB of the device in use; NaN without a driver. */
function used(): number {
  const { stdout } = spawnSync('nvidia-smi', ['--query-gpu=memory.used', '--format=csv,noheader,nounits'], { encoding: 'utf8' });
  return Number.parseFloat(stdout ?? '');
}

/**
 * Measures all in this process, the lengths that matter most first, until the time is over; the rest is printed as left out.
 *
 * LENGTHS, ONLY (names separated by ;), WINDOW, DTYPE and SECONDS of the environment change what is measured.
 */
export async function zoo(
  { ort, target, options }: { ort: Ort; target: Target; options: RunnerOptions },
  folder: string,
): Promise<void> {
  const onGpu = target.name === 'cuda';
  const start = performance.now();
  const seconds = Number(process.env.SECONDS ?? 130);
  const lengths = (process.env.LENGTHS ?? (onGpu ? '16384,8192,32768,4096,2048,1024' : '256,128')).split(',').map(Number);
  const only = process.env.ONLY?.split(';');
  const dtype = (process.env.DTYPE ?? (onGpu ? 'float16' : 'float32')) as 'float16';
  const window = Number(process.env.WINDOW ?? 512);
  const figures: Figure[] = [];
  // Those of all lengths before the ones that may end the process.
  for (const wide of [false, true])
    for (const [seq, subject] of lengths.flatMap((n) => zooSubjects().map((one) => [n, one] as const))) {
      if (keepsPairs(subject.name) !== wide) continue;
      if (only && !only.includes(subject.name)) continue;
      const about = { subject: subject.name, seq };
      if (performance.now() - start > 1000 * seconds) {
        figures.push({ ...about, reason: `no time left after ${seconds} s` });
        continue;
      }
      const before = onGpu ? used() : Number.NaN;
      const peak = () => (onGpu ? used() - before : undefined);
      const sizes = { heads: 8, headDim: 64, seq, window };
      const limits = { memory: 2 ** 32, time: 300, session: options.session ?? {}, peak };
      try {
        const f = await measureZoo(subject, sizes, { target, machine, dtype }, ort, limits);
        if ('stopped' in f) {
          figures.push({ ...about, reason: f.stopped });
          continue;
        }
        const other = figures.find((one) => one.subject === subject.reference && one.seq === seq);
        figures.push({
          ...about,
          ms: f.median,
          spread: f.spread,
          ...(other?.ms !== undefined && { faster: other.ms / f.median }),
          gigaflop: f.flops / 1e9,
          largestMb: f.largest / 1e6,
          ...(f.peak !== undefined && { deviceMb: f.peak }),
          kernels: [...new Set([...attentionsOf(f.model), ...kernelsOf(f.model, machine)])].slice(0, 4).join(', '),
        });
      } catch (error) {
        figures.push({ ...about, reason: (error as Error).message.replace(/\s+/g, ' ').slice(0, 300) });
      }
    }
  writeFileSync(join(folder, 'zoo.json'), `${JSON.stringify(figures, null, 1)}\n`);
  table([
    ['seq', 'mechanism', 'ms', '±', '× exact', 'GFLOP', 'largest MB', 'device MB', 'kernels'],
    ...figures.map((f) => [
      f.seq,
      f.subject,
      f.ms?.toFixed(4) ?? '',
      f.spread?.toFixed(4) ?? '',
      f.faster?.toFixed(2) ?? '',
      f.gigaflop?.toFixed(1) ?? '',
      f.largestMb?.toFixed(0) ?? '',
      f.deviceMb?.toFixed(0) ?? '',
      f.kernels ?? `not measured: ${f.reason}`,
    ]),
  ]);
  const at = Math.max(...lengths.filter((n) => n <= 16_384));
  for (const name of ['local', 'local, causal']) {
    const faster = figures.find((f) => f.seq === at && f.subject === name)?.faster;
    if (onGpu && faster !== undefined)
      check(`${name}, window ${window}, at ${at}: at least 3 × faster than ${exact}`, faster >= 3, faster.toFixed(2));
  }
  process.stdout.write(`${((performance.now() - start) / 1000).toFixed(0)} s\n`);
}
