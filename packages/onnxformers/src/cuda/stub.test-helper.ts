// The CUDA provider without a GPU: its real host code with stubs of CUDA's libraries. It says nothing about numbers and time.
import { spawnSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { evaluateDim, inMemory, type Model } from '@onnxformers/core';
import { inspectFile } from '@onnxformers/core/node';
import type { Job } from './run-models.test-helper';

/** A folder with `lib`, `lib-cudnn` and `node_modules`; undefined if there is none. */
export const stubFolder = process.env.STUB_CUDA ? resolve(process.env.STUB_CUDA) : undefined;

export interface StubMachine {
  readonly sm: number;
  /** Version number of cuDNN: 91400 is 9.14.0. */
  readonly cudnn: number | 'none';
  /** Environment variables of the runtime. */
  readonly environment?: Readonly<Record<string, string>>;
}

export interface StubJob {
  readonly model: Model;
  readonly sizes: Readonly<Record<string, number>>;
}

/** What the provider did with a model. */
export interface StubResult {
  /** Kernels of the attention nodes, in the order of their runs, by the names that the runtime prints. */
  readonly kernels: readonly string[];
  /** Nodes that run on the CPU. */
  readonly onCpu: readonly string[];
  /** Op types after the runtime's optimisation, with their counts. */
  readonly ops: Readonly<Record<string, number>>;
  readonly error: string | undefined;
}

const runner = join(import.meta.dirname, 'run-models.test-helper.ts');

/** Runs every model once on a simulated machine. */
export async function onStub(machine: StubMachine, jobs: readonly StubJob[]): Promise<readonly StubResult[]> {
  const folder = mkdtempSync(join(tmpdir(), 'stub-cuda-'));
  try {
    const list = await Promise.all(jobs.map((job, i) => written(job, join(folder, `${i}`))));
    writeFileSync(join(folder, 'jobs.json'), JSON.stringify(list));
    const text = log(machine, folder);
    const parts = text.split(/^@@model /m).slice(1);
    if (parts.length !== jobs.length)
      throw new Error(`the runtime came to an end after ${parts.length} of ${jobs.length} models: ${text.slice(-2000)}`);
    return await Promise.all(parts.map((part, i) => resultOf(part, list[i]!.optimized)));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function written({ model, sizes }: StubJob, path: string): Promise<Job> {
  const { file, external = [] } = await inMemory(model);
  writeFileSync(`${path}.onnx`, file as Uint8Array);
  const data = external.map(({ path: at, data: bytes }, i) => {
    writeFileSync(`${path}.${i}.bin`, bytes as Uint8Array);
    return { path: at, data: `${path}.${i}.bin` };
  });
  const feeds = model.signature.inputs.map(({ name, dtype, dims }) => {
    const known = dims.map((d) => evaluateDim(d, sizes));
    const fill = dtype === 'int64' || dtype === 'int32' ? (sizes[name] ?? sizes.seq ?? 1) : dtype === 'bool' ? 1 : 0;
    return [name, { type: dtype, dims: known, fill }] as const;
  });
  return { model: `${path}.onnx`, external: data, optimized: `${path}.optimized.onnx`, feeds: Object.fromEntries(feeds) };
}

function log({ sm, cudnn, environment }: StubMachine, folder: string): string {
  const libraries = [`${stubFolder}/lib`, ...(cudnn === 'none' ? [] : [`${stubFolder}/lib-cudnn`])].join(':');
  const path = join(folder, 'log');
  const out = openSync(path, 'a');
  spawnSync(process.execPath, ['--import', 'tsx', runner, join(folder, 'jobs.json')], {
    env: {
      ...process.env,
      LD_LIBRARY_PATH: libraries,
      ONNXRUNTIME_NODE: process.env.ONNXRUNTIME_NODE ?? join(stubFolder!, 'node_modules/onnxruntime-node'),
      ORT_ENABLE_ATTENTION_KERNEL_DEBUG_INFO: '1',
      STUB_SM: `${sm}`,
      STUB_CUDNN_VERSION: `${cudnn}`,
      ...environment,
    },
    stdio: ['ignore', out, out],
  });
  closeSync(out);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the log is coloured
  return readFileSync(path, 'utf8').replace(/\x1b\[[\d;]*m/g, '');
}

async function resultOf(part: string, optimized: string): Promise<StubResult> {
  const kernels = [...part.matchAll(/SdpaKernel=(\w+)/g)].map((m) => m[1]!);
  const error = /^@@failed (.*)$/m.exec(part)?.[1];
  const [cpu] = /placed on \[CPUExecutionProvider\][\s\S]*?(?= placed on |\n@@|SaveMLValue)/.exec(part) ?? [];
  const onCpu = [...(cpu ?? '').matchAll(/VerifyEachNodeIsAssignedToAnEp\] {3,}(\S+) \((.*)\)$/gm)].map(
    (m) => `${m[1]} (${m[2]})`,
  );
  const all = /All nodes placed on \[CPU/.test(part) ? ['everything'] : [];
  const ops = error && kernels.length === 0 ? [] : (await inspectFile(optimized)).ops;
  return { kernels, onCpu: [...all, ...onCpu], ops: Object.fromEntries(ops.map((o) => [o.opType, o.count])), error };
}
