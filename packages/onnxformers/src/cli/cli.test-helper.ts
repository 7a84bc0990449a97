// Runs the command line in a temporary folder, as a process and in this process.
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { tensor } from '@onnxformers/core';
import { afterAll, beforeAll } from 'vitest';
import { start } from './start';

export const main = fileURLToPath(new URL('./main.ts', import.meta.url));
/** Node flags to run the sources. */
export const nodeFlags = ['--conditions=@onnxformers/source', '--import', import.meta.resolve('tsx')];
/** A temporary folder of each test file. */
export let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'cli-'));
});
afterAll(() => rm(dir, { recursive: true }));

export interface Said {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs the command line as a separate process, in the temporary folder. */
export function cli(...args: string[]): Promise<Said> {
  return new Promise((resolve) => {
    execFile(process.execPath, [...nodeFlags, main, ...args], { cwd: dir, timeout: 55_000 }, (error, out, err) =>
      resolve({ code: error ? Number(error.code) : 0, out, err }),
    );
  });
}
/** The same in this process. */
export async function here(...args: string[]): Promise<Said> {
  let [out, err] = ['', ''];
  const code = await start(args, { write: (t) => (out += t) }, { write: (t) => (err += t) });
  return { code, out, err };
}
export const parsed = async (...args: string[]) => {
  const { code, out } = await cli(...args, '--json');
  const json = JSON.parse(out);
  return code === 0 ? { code, json, error: '' } : { code, json: '', error: json };
};
export const write = (name: string, content: unknown) =>
  writeFile(join(dir, name), typeof content === 'string' ? content : JSON.stringify(content));

export const lm = {
  name: 'causal_lm',
  dim: 12,
  vocabSize: 23,
  embedding: 'token',
  stack: {
    name: 'stack',
    depth: 2,
    layers: { name: 'pre_norm', mixer: { name: 'multi_head', heads: 3 }, feedforward: 'mlp', norm: 'layer_norm' },
    norm: 'layer_norm',
  },
} as const;
export const ids = tensor('int64', [2, 5], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
