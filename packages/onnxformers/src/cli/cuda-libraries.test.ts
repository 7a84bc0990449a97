import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { missingForCuda, notFound, providerFile, runtimeFolder } from './cuda-libraries';

describe('what the CUDA provider lacks', () => {
  it('is the package itself if nothing else is installed', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'cuda-libraries-'));
    expect(await missingForCuda(folder)).toBe(
      `${providerFile} is not in ${folder}; see docs/guides/cuda.md for how to install it`,
    );
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
