import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { installing, missingForCuda, notFound, providerFile, runtimeFolder } from './cuda-libraries';

describe('what the CUDA provider lacks', () => {
  it('is the package itself if nothing else is installed, with the command that installs it', async () => {
    const root = mkdtempSync(join(tmpdir(), 'cuda-libraries-'));
    const folder = (arch: string) => join(root, 'bin', 'napi-v6', 'linux', arch);
    const script = join(root, 'script', 'install.js');
    expect(await missingForCuda(folder('x64'))).toBe(
      `${providerFile} is not in ${folder('x64')}. Install it from NuGet: node ${script} --onnxruntime-node-install`,
    );
    expect(await missingForCuda(folder('arm64'))).toBe(
      `${providerFile} is not in ${folder('arm64')}; onnxruntime-node has it for linux/x64 only`,
    );
  });
  it('is installed by packages for the version of CUDA that the provider was built for', () => {
    const [twelve, folders] = installing(
      ['libcublasLt.so.12', 'libcublas.so.12', 'libcufft.so.11'],
      '\tlibcudart.so.12 => /usr/lib/libcudart.so.12 (0x7f)\n\tlibcublas.so.12 => not found\n',
    );
    expect(twelve).toBe('python3 -m pip install nvidia-cublas-cu12 nvidia-cufft-cu12');
    expect(folders).toMatch(/^export LD_LIBRARY_PATH="\$\(python3 -c '.*nvidia\/\*\/lib.*'\):\$LD_LIBRARY_PATH"$/);
    const [later] = installing(['libcudart.so.13', 'libcudnn.so.9'], '\tlibcudart.so.13 => not found\n');
    expect(later).toBe('python3 -m pip install nvidia-cuda-runtime nvidia-cudnn-cu13');
    expect(installing(['libc.so.6'], '')).toEqual([]);
  });
  it('is read from what ldd prints', () => {
    const printed = [
      '\tlinux-vdso.so.1 (0x00007ffd)',
      '\tlibcublasLt.so.13 => not found',
      '\tlibcudart.so.13 => not found',
      '\tlibdl.so.2 => /lib/x86_64-linux-gnu/libdl.so.2 (0x00007f)',
    ].join('\n');
    expect(notFound(printed)).toEqual(['libcublasLt.so.13', 'libcudart.so.13']);
  });
  it('is undefined if it cannot be known', async () => {
    expect(await missingForCuda(undefined)).toBeUndefined();
    const folder = mkdtempSync(join(tmpdir(), 'cuda-libraries-'));
    writeFileSync(join(folder, providerFile), 'not a library');
    expect(await missingForCuda(folder)).toBeUndefined();
  });
});

it.runIf(process.platform === 'linux')('the folder of the runtime is where its library was loaded from', () => {
  expect(ort.InferenceSession).toBeDefined();
  expect(runtimeFolder()).toMatch(/onnxruntime-node\/bin\/napi-v\d+\/linux\/(x64|arm64)$/);
});
