// The runtimes, imported only by commands that run models.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { type Ort, RunError } from '@onnxformers/core';

/** Packages that run models. */
export const runtimeNames = ['onnxruntime-node', 'onnxruntime-web'] as const;
export type RuntimeName = (typeof runtimeNames)[number];

/** The runtime for a list of providers: only WebAssembly needs onnxruntime-web. */
export const runtimeFor = (providers: readonly string[]): RuntimeName =>
  providers[0] === 'wasm' ? 'onnxruntime-web' : 'onnxruntime-node';

/**
 * Imports a runtime.
 *
 * Throws   RunError when it is not installed or does not start
 */
export async function importRuntime(name: RuntimeName): Promise<Ort> {
  try {
    const imported: { readonly default?: unknown } =
      name === 'onnxruntime-node' ? await import('onnxruntime-node') : await import('onnxruntime-web');
    return ('InferenceSession' in imported ? imported : imported.default) as Ort;
  } catch (cause) {
    throw new RunError(
      {
        path: name,
        problem: 'cannot be imported',
        got: cause instanceof Error ? cause.message.split('\n')[0]! : String(cause),
        hint: `npm install ${name}`,
      },
      { cause },
    );
  }
}

/** A GPU, as reported by its driver. */
export interface Gpu {
  readonly name: string;
  /** Compute capability times ten. */
  readonly sm: number;
  readonly driver: string;
  readonly memory: string;
}

/** The NVIDIA GPUs of this machine; none without their driver. */
export async function gpus(): Promise<readonly Gpu[]> {
  const query = ['--query-gpu=name,compute_cap,driver_version,memory.total', '--format=csv,noheader'];
  const { stdout } = await promisify(execFile)('nvidia-smi', query, { timeout: 10_000 }).catch(() => ({ stdout: '' }));
  return stdout
    .split('\n')
    .map((line) => line.split(',').map((cell) => cell.trim()))
    .filter((cells) => cells.length === 4 && cells[0])
    .map(([name, capability, driver, memory]) => ({
      name: name!,
      sm: Math.round(Number(capability) * 10),
      driver: driver!,
      memory: memory!,
    }));
}
