// Finds out what is missing for the CUDA provider of onnxruntime-node: the provider itself, or libraries that it was linked with.
import { execFile } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

/** The provider's file; linux/x64 is the only platform that has it. */
export const providerFile = 'libonnxruntime_providers_cuda.so';

/** The folder of the runtime's library in this process, after it was loaded; undefined if the system does not provide it. */
export function runtimeFolder(): string | undefined {
  try {
    const mapped = /(\/.*\/libonnxruntime\.so\S*)$/m.exec(readFileSync('/proc/self/maps', 'utf8'));
    return mapped ? dirname(mapped[1]!) : undefined;
  } catch {
    return undefined;
  }
}

/** Names of libraries that the loader did not find, from the output of `ldd`. */
export const notFound = (printed: string): readonly string[] =>
  [...printed.matchAll(/^\s*(\S+) => not found/gm)].map((m) => m[1]!);

/** What is missing in the runtime's folder, as text; undefined if nothing is missing, or if it is not known. */
export async function missingForCuda(folder: string | undefined): Promise<string | undefined> {
  if (folder === undefined) return undefined;
  const provider = join(folder, providerFile);
  if (!existsSync(provider)) return `${providerFile} is not in ${folder}; see docs/guides/cuda.md for how to install it`;
  const { stdout } = await promisify(execFile)('ldd', [provider], { timeout: 10_000 }).catch(() => ({ stdout: '' }));
  const libraries = notFound(stdout);
  return libraries.length ? `${providerFile} is installed, but the loader does not find ${libraries.join(', ')}` : undefined;
}
