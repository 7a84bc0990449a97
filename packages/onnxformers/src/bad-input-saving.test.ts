// Folders and disks that are wrong: each a clear error of one of the seven classes, and nothing half-written.
import { spawnSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { hostname, platform, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { inspectFile, load, openWeights, save, saveSafetensors } from '@onnxformers/core/node';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { build, compiled, fails, lm } from './bad-input.test-helper';
import { FileError, initialize } from './index';

// A file of this name in here is opened as /dev/full, where every write fails as on a full disk.
const full = new Set<string>();
vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>();
  const open = (path: string, ...rest: never[]) =>
    full.has(basename(path)) ? real.open('/dev/full', 'w') : real.open(path, ...rest);
  return { ...real, open };
});

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'bad-input-'));
});
afterAll(() => rm(dir, { recursive: true }));

describe('saving and loading', () => {
  const m = build(lm());
  const model = compiled(m, { weights: initialize(m, { seed: 1 }) });

  it('a folder of a newer format', async () => {
    const folder = join(dir, 'newer');
    await save(model, folder);
    const file = join(folder, 'onnxformers.json');
    const saved = JSON.parse(await readFile(file, 'utf8'));
    await writeFile(file, JSON.stringify({ ...saved, format: saved.format + 1 }));
    await fails(() => load(folder), FileError, {
      path: file,
      problem: 'saved in a newer format',
      expected: `format ${saved.format} or older`,
      got: `format ${saved.format + 1}`,
      hint: 'Update onnxformers',
    });
  });

  it('a file that is not a model', async () => {
    const folder = join(dir, 'damaged');
    await save(model, folder);
    await writeFile(join(folder, 'model.onnx'), Uint8Array.of(1, 2, 3));
    await fails(() => load(folder), FileError, {
      path: join(folder, 'model.onnx'),
      problem: 'not an ONNX model',
      hint: /truncated/,
    });
  });

  it('a missing folder', () =>
    fails(() => load(join(dir, 'nowhere')), FileError, {
      path: join(dir, 'nowhere', 'onnxformers.json'),
      problem: 'no such file or folder',
      hint: /^A saved model is a folder with/,
    }));

  it('a file where the folder should be', async () => {
    await writeFile(join(dir, 'file'), 'x');
    await fails(() => save(model, join(dir, 'file')), FileError, {
      path: join(dir, 'file'),
      problem: 'exists already and is not a folder',
    });
  });

  it.skipIf(platform() !== 'linux')('a place where no folder can be made (only Linux has /proc)', () =>
    fails(() => save(model, '/proc/model/of/mine'), FileError, { problem: 'no such file or folder' }),
  );

  describe.skipIf(platform() === 'win32')('a folder that may only be read (not on Windows, which has other permissions)', () => {
    /** Does something as a user whom permissions stop: root they do not. */
    async function asAnyone(f: () => Promise<void>): Promise<void> {
      const user = process.geteuid!();
      if (user === 0) process.seteuid!(65534);
      try {
        await f();
      } finally {
        if (user === 0) process.seteuid!(user);
      }
    }

    it('keeps an existing model', async () => {
      const folder = join(dir, 'kept');
      await save(model, folder);
      const before = await readFile(join(folder, 'weights.bin'));
      await chmod(dir, 0o755);
      await chmod(folder, 0o555);
      await asAnyone(async () => {
        await fails(() => save(model, folder), FileError, { path: folder, problem: 'permission denied' });
        await fails(() => saveSafetensors(join(folder, 'y.safetensors'), new Map()), FileError, {
          path: folder,
          problem: 'permission denied',
        });
        await fails(() => save(model, join(folder, 'inner')), FileError, {
          path: join(folder, 'inner'),
          problem: 'permission denied',
        });
        await load(folder);
      });
      expect((await readdir(folder)).sort()).toEqual(['model.onnx', 'onnxformers.json', 'weights.bin']);
      expect(await readFile(join(folder, 'weights.bin'))).toEqual(before);
      await chmod(folder, 0o755);
    });

    it('hides a file that may not be read', async () => {
      const file = join(dir, 'hidden.safetensors');
      await saveSafetensors(file, new Map());
      await chmod(dir, 0o755);
      await chmod(file, 0o000);
      await asAnyone(async () => {
        await fails(() => openWeights(file), FileError, { path: file, problem: 'permission denied' });
        await fails(() => inspectFile(file), FileError, { path: file, problem: 'permission denied' });
      });
    });
  });

  it('a saving that was ended in the middle is finished by who loads', async () => {
    const [folder, other] = [join(dir, 'ended'), join(dir, 'other')];
    await save(model, folder);
    await save(compiled(m, { dtype: 'float16', weights: initialize(m, { seed: 2 }) }), other);
    // As a process of this machine leaves it that is killed after one of three files has come in.
    const { pid } = spawnSync(process.execPath, ['--version']);
    const left = join(folder, `.saving-${hostname().replace(/[^\w.]/g, '_')}-${pid}-aaaaaa`);
    await mkdir(join(left, 'replaced'), { recursive: true });
    const names = ['weights.bin', 'model.onnx', 'onnxformers.json'];
    for (const name of names) await rename(join(folder, name), join(left, 'replaced', name));
    for (const name of names) await rename(join(other, name), join(name === 'weights.bin' ? folder : left, name));
    expect((await load(folder)).dtype).toBe('float16');
    await save(model, folder);
    expect((await readdir(folder)).sort()).toEqual(['model.onnx', 'onnxformers.json', 'weights.bin']);
    expect((await load(folder)).dtype).toBe('float32');
  });

  it.skipIf(platform() === 'win32')('a device in the place of a file (not on Windows, which has no /dev)', async () => {
    for (const read of [inspectFile, openWeights])
      await fails(() => read('/dev/zero'), FileError, { path: '/dev/zero', problem: 'not a file' });
  });

  it.skipIf(platform() !== 'linux')('a full disk (simulated by /dev/full, which only Linux has)', async () => {
    for (const name of ['weights.bin', 'model.onnx', 'onnxformers.json']) {
      full.add(name);
      const folder = join(dir, `full-${name}`);
      await fails(() => save(model, folder), FileError, {
        path: /full-/,
        problem: 'no space left on the disk',
        hint: /^The model takes .*; nothing was changed in /,
      });
      expect(await readdir(dir)).not.toContain(basename(folder));
      full.delete(name);
    }
  });

  it.skipIf(platform() !== 'linux')(
    'a full disk leaves an older model as it was (simulated by /dev/full, which only Linux has)',
    async () => {
      const folder = join(dir, 'older');
      await save(model, folder);
      const before = await readFile(join(folder, 'weights.bin'));
      full.add('model.onnx');
      await fails(() => save(model, folder), FileError, { problem: 'no space left on the disk' });
      full.clear();
      expect((await readdir(folder)).sort()).toEqual(['model.onnx', 'onnxformers.json', 'weights.bin']);
      expect(await readFile(join(folder, 'weights.bin'))).toEqual(before);
      await load(folder);
    },
  );
});
