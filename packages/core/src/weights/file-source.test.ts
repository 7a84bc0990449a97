import { mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { FileError, WeightError } from '../error';
import type { Progress } from '../progress';
import { tensor } from '../tensor/convert';
import { fileSource, openWeights, saveSafetensors } from './file-source';
import { lazily } from './lazy';
import { encodeSafetensors, type WritableTensors } from './safetensors';

// A file of this name is opened as /dev/full, where every write fails as on a full disk.
const fullName = 'full.safetensors';
vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>();
  const open: typeof real.open = (path, ...rest) =>
    String(path).endsWith(fullName) ? real.open('/dev/full', 'w') : real.open(path, ...rest);
  return { ...real, open };
});

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'weights-'));
});
afterEach(() => rm(dir, { recursive: true }));

const a = tensor('float16', [3], [1, -2, 0.5]);
const b = tensor('int64', [2, 1], [7, -9]);
const entries: WritableTensors = [
  ['b', b],
  ['a', lazily('float16', [3], () => a)],
];
const bytes = encodeSafetensors([
  ['a', a],
  ['b', b],
]);

describe('openWeights', () => {
  it('reads a file, tensor by tensor', async () => {
    await writeFile(join(dir, 'w.safetensors'), bytes);
    const weights = await openWeights(join(dir, 'w.safetensors'));
    expect([...weights.keys()].sort()).toEqual(['a', 'b']);
    expect(await weights.get('a')!.load()).toEqual(a);
    expect(await weights.get('b')!.load()).toEqual(b);
    expect((await openWeights(dir)).size).toBe(2);
  });

  it('reads an index of several files, by its name or its folder', async () => {
    await writeFile(join(dir, 'one.safetensors'), encodeSafetensors([['a', a]]));
    await writeFile(join(dir, 'two.safetensors'), encodeSafetensors([['b', b]]));
    const index = join(dir, 'model.safetensors.index.json');
    await writeFile(index, JSON.stringify({ weight_map: { a: 'one.safetensors', b: 'two.safetensors' } }));
    for (const path of [index, dir]) expect(await (await openWeights(path)).get('b')!.load()).toEqual(b);
    await rm(join(dir, 'two.safetensors'));
    await expect(openWeights(dir)).rejects.toThrow(`${join(dir, 'two.safetensors')}: no such file or folder`);
  });

  it('lists the names that it looked for in a folder', async () => {
    await expect(openWeights(dir)).rejects.toThrow(
      `${dir}: no safetensors file in this folder; expected model.safetensors, model.safetensors.index.json, or one file *.safetensors, got an empty folder`,
    );
    await writeFile(join(dir, 'x.safetensors'), bytes);
    await writeFile(join(dir, 'y.safetensors'), bytes);
    await expect(openWeights(dir)).rejects.toThrow('several safetensors files without an index');
    await writeFile(join(dir, 'model.safetensors'), bytes);
    expect((await openWeights(dir)).size).toBe(2);
  });

  it('names the file that is missing, is a folder, or is damaged', async () => {
    const path = join(dir, 'w.safetensors');
    await expect(openWeights(path)).rejects.toThrow(`${path}: no such file or folder`);
    await expect(fileSource(dir)).rejects.toThrow(`${dir}: not a file`);
    await writeFile(path, bytes.subarray(0, -1));
    const failing = openWeights(path);
    await expect(failing).rejects.toThrow(
      `${path}: tensor "a": the data offsets are outside of the file; expected a range within`,
    );
    await expect(failing).rejects.toBeInstanceOf(WeightError);
  });

  it('notices a file that is changed after its header was read', async () => {
    const path = join(dir, 'w.safetensors');
    await writeFile(path, bytes);
    const weights = await openWeights(path);
    await utimes(path, 1, 1);
    const failing = weights.get('a')!.load();
    await expect(failing).rejects.toBeInstanceOf(FileError);
    await expect(failing).rejects.toThrow(`${path}: the file changed after it was opened. Open the weights again`);
  });
});

describe('saveSafetensors', () => {
  const failing = (): WritableTensors => [
    ['a', a],
    ['z', lazily('int8', [1], () => Promise.reject(new Error('unused')) as never)],
  ];

  it('writes the format, in a folder that it makes', async () => {
    const path = join(dir, 'new', 'w.safetensors');
    const seen: Progress[] = [];
    await saveSafetensors(path, entries, { onProgress: (p) => seen.push(p) });
    expect((await readFile(path)).equals(bytes)).toBe(true);
    expect(seen.at(-1)).toEqual({ phase: 'write', fraction: 1, bytes: bytes.length });
    expect(await readdir(join(dir, 'new'))).toEqual(['w.safetensors']);
    await saveSafetensors(path, [['c', a]], { metadata: { format: 'pt' } });
    expect([...(await openWeights(path)).keys()]).toEqual(['c']);
  });

  it('can replace the very file that the tensors are read from', async () => {
    const path = join(dir, 'w.safetensors');
    await writeFile(path, bytes);
    await saveSafetensors(path, await openWeights(path), { metadata: { again: 'yes' } });
    expect(await (await openWeights(path)).get('b')!.load()).toEqual(b);
  });

  it('leaves only the old file when it fails: a broken tensor, an abort, a full disk', async () => {
    for (const name of ['w.safetensors', fullName]) {
      const path = join(dir, name);
      await writeFile(path, 'old');
      const stop = new AbortController();
      const attempts: (() => Promise<void>)[] = [
        () => saveSafetensors(path, failing()),
        () => saveSafetensors(path, entries, { signal: AbortSignal.abort(new Error('stopped')) }),
        () => saveSafetensors(path, entries, { signal: stop.signal, onProgress: () => stop.abort(new Error('stopped')) }),
      ];
      for (const attempt of attempts) await expect(attempt()).rejects.toThrow();
      expect(await readFile(path, 'utf8')).toBe('old');
    }
    if (await stat('/dev/full').catch(() => undefined)) {
      const full = saveSafetensors(join(dir, fullName), entries);
      await expect(full).rejects.toBeInstanceOf(FileError);
      await expect(full).rejects.toThrow(
        /full\.safetensors: no space left on the disk\. Nothing was changed at .*full\.safetensors$/,
      );
    } else console.log('a full disk is not tried: this system has no /dev/full');
    expect((await readdir(dir)).sort()).toEqual([fullName, 'w.safetensors']);
    await expect(saveSafetensors(join(dir, 'fresh', 'w.safetensors'), failing())).rejects.toThrow();
    expect((await readdir(dir)).sort()).toEqual([fullName, 'w.safetensors']);
  });

  it('does not replace a folder', async () => {
    const path = join(dir, 'folder');
    await mkdir(path);
    await writeFile(join(path, 'precious'), '');
    await expect(saveSafetensors(path, entries)).rejects.toThrow(FileError);
    expect(await readdir(path)).toEqual(['precious']);
    expect(await readdir(dir)).toEqual(['folder']);
  });
});
