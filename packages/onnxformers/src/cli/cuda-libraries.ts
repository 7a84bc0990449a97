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

// Packages of NVIDIA that contain a library, for CUDA 12 and from CUDA 13 on. They are the same on every distribution of Linux.
const packages: readonly (readonly [library: RegExp, cuda12: string, later: string])[] = [
  [/^libcudart\.so/, 'nvidia-cuda-runtime-cu12', 'nvidia-cuda-runtime'],
  [/^libcublas(Lt)?\.so/, 'nvidia-cublas-cu12', 'nvidia-cublas'],
  [/^libcurand\.so/, 'nvidia-curand-cu12', 'nvidia-curand'],
  [/^libcufft\.so/, 'nvidia-cufft-cu12', 'nvidia-cufft'],
  [/^libcudnn\.so/, 'nvidia-cudnn-cu12', 'nvidia-cudnn-cu13'],
];

/** Commands that install libraries that the loader did not find; none for libraries that no package of NVIDIA contains. */
export function installing(libraries: readonly string[], printed: string): readonly string[] {
  const twelve = /^\s*libcudart\.so\.12\b/m.test(printed);
  const needed = packages.filter(([library]) => libraries.some((name) => library.test(name)));
  if (!needed.length) return [];
  const names = needed.map(([, cuda12, later]) => (twelve ? cuda12 : later));
  const folders = `import glob, site; print(":".join(glob.glob(site.getsitepackages()[0] + "/nvidia/*/lib")))`;
  return [`python3 -m pip install ${names.join(' ')}`, `export LD_LIBRARY_PATH="$(python3 -c '${folders}'):$LD_LIBRARY_PATH"`];
}

/** What is missing in the runtime's folder and the commands that install it, as text; undefined if nothing is missing, or if it is not known. */
export async function missingForCuda(folder: string | undefined): Promise<string | undefined> {
  if (folder === undefined) return undefined;
  const provider = join(folder, providerFile);
  if (!existsSync(provider)) {
    const absent = `${providerFile} is not in ${folder}`;
    if (!folder.endsWith(join('linux', 'x64'))) return `${absent}; onnxruntime-node has it for linux/x64 only`;
    const script = join(folder, '..', '..', '..', '..', 'script', 'install.js');
    return `${absent}. Install it from NuGet: node ${script} --onnxruntime-node-install`;
  }
  const { stdout } = await promisify(execFile)('ldd', [provider], { timeout: 10_000 }).catch(() => ({ stdout: '' }));
  const libraries = notFound(stdout);
  if (!libraries.length) return undefined;
  const commands = installing(libraries, stdout);
  const how = commands.length ? `. If CUDA is not installed: ${commands.join(' && ')}` : '';
  return `${providerFile} is installed, but the loader does not find ${libraries.join(', ')}${how}`;
}
