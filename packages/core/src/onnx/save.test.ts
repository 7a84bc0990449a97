import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { FileError } from '../error';
import type { Progress } from '../progress';
import { readOnnx } from './decode';
import { toChunks } from './encode';
import type { OnnxInitializer } from './model';
import { saveOnnx } from './save';
import { bias, filled, linearModel, node, stored, weight } from './testing/models';

// Files whose name is in here are opened as /dev/full, where every write fails as on a full disk.
const full = new Set<string>();
const unmovable = new Set<string>();
vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof import('node:fs/promises')>();
  const name = (path: unknown): string => String(path).split('/').at(-1)!;
  const open: typeof real.open = (path, ...rest) =>
    full.has(name(path)) ? real.open('/dev/full', 'w') : real.open(path, ...rest);
  const rename: typeof real.rename = async (from, to) => {
    if (unmovable.has(name(to)) && String(from).includes('.saving-') && !String(from).includes('replaced')) {
      throw Object.assign(new Error('EBUSY: rename'), { code: 'EBUSY' });
    }
    return real.rename(from, to);
  };
  return { ...real, open, rename };
});

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'save-'));
});
afterEach(async () => {
  full.clear();
  unmovable.clear();
  await rm(dir, { recursive: true });
});

async function contents(folder: string): Promise<Record<string, string>> {
  const names = await readdir(folder, { recursive: true });
  const files = await Promise.all(
    names
      .sort()
      .map(async (name) =>
        (await stat(join(folder, name))).isFile() ? [[name, await readFile(join(folder, name), 'hex')]] : [[name, 'folder']],
      ),
  );
  return Object.fromEntries(files.flat());
}

const big = (name: string, mebibytes: number, data?: OnnxInitializer['data']): OnnxInitializer => {
  const t = {
    dtype: 'uint8',
    dims: [mebibytes * 2 ** 20],
    data: new Uint8Array(data ? 0 : mebibytes * 2 ** 20).fill(7),
  } as const;
  return { name, dtype: t.dtype, dims: t.dims, data: data ?? t };
};

describe('saving', () => {
  it('writes the bytes of the streams, for any sizes of tensors and chunks', async () => {
    // Pieces of one array, filled anew each time.
    const shared = new Uint8Array(300_007);
    async function* pieces(): AsyncGenerator<Uint8Array> {
      for (let i = 0; i < 3 * 2 ** 20; i += shared.length)
        yield shared.subarray(0, Math.min(shared.length, 3 * 2 ** 20 - i)).fill(i % 251);
    }
    const small = Array.from({ length: 50 }, (_, i) => stored(`s${i}`, filled('int16', [600 + 13 * i], i)));
    const model = linearModel([stored('w', weight), ...small, big('a', 3, pieces), stored('b', bias), big('c', 5), big('d', 1)]);
    await saveOnnx(model, join(dir, 'new/folder'), { extra: { 'onnxformers.json': '{"é":1}' } });
    const encoded = toChunks(model, { externalData: { location: 'weights.bin' } });
    const parts = async (chunks: AsyncIterable<Uint8Array>): Promise<string> => {
      const all = [];
      for await (const chunk of chunks) all.push(Buffer.from(chunk));
      return Buffer.concat(all).toString('hex');
    };
    const files = await contents(join(dir, 'new/folder'));
    expect(Object.keys(files)).toEqual(['model.onnx', 'onnxformers.json', 'weights.bin']);
    expect(files['weights.bin'] === (await parts(encoded.external))).toBe(true);
    expect(files['model.onnx']).toBe(await parts(encoded.model));
    expect(files['onnxformers.json']).toBe(Buffer.from('{"é":1}').toString('hex'));
  });

  it('writes the same bytes again', async () => {
    await saveOnnx(linearModel(), join(dir, 'a'));
    await saveOnnx(linearModel(), join(dir, 'b'));
    expect(await contents(join(dir, 'a'))).toEqual(await contents(join(dir, 'b')));
  });

  it('writes a weights file even if all tensors are small, under the given names', async () => {
    const files = { model: 'encoder.onnx', weights: 'encoder.bin' };
    await saveOnnx(linearModel([stored('b', bias)]), dir, { files });
    expect((await contents(dir))['encoder.bin']).toBe('');
    await saveOnnx(linearModel(), dir, { files });
    expect(readOnnx(await readFile(join(dir, 'encoder.onnx'))).graph.initializers[0]!.data).toEqual({
      location: 'encoder.bin',
      offset: 0,
      length: 2108,
    });
  });

  it('replaces an older model and does not change other files', async () => {
    await writeFile(join(dir, 'README.md'), 'mine');
    await saveOnnx(linearModel([stored('w', weight)]), dir, { extra: { 'onnxformers.json': 'old' } });
    const before = await contents(dir);
    await saveOnnx(linearModel([stored('w', filled('float32', [17, 31], 2))]), dir, { extra: { 'onnxformers.json': 'new' } });
    const after = await contents(dir);
    expect(Object.keys(after)).toEqual(['README.md', 'model.onnx', 'onnxformers.json', 'weights.bin']);
    expect(after['README.md']).toBe(before['README.md']);
    expect(after['weights.bin']).not.toBe(before['weights.bin']);
    expect(Buffer.from(after['onnxformers.json']!, 'hex').toString()).toBe('new');
  });

  it('reports every byte once', async () => {
    const seen: Progress[] = [];
    await saveOnnx(linearModel([big('a', 70), stored('b', bias)]), dir, { onProgress: (p) => seen.push(p) });
    const size = (await stat(join(dir, 'model.onnx'))).size + (await stat(join(dir, 'weights.bin'))).size;
    expect(seen.at(-1)).toEqual({ phase: 'write', fraction: 1, bytes: size });
    const fractions = seen.map(({ fraction }) => fraction);
    expect(fractions).toEqual(fractions.toSorted((a, b) => a - b));
    expect(seen.length).toBeGreaterThanOrEqual(3); // 70 MiB are two pieces
  });

  it('loads the next tensor while one is written, but not two at a time', async () => {
    let loading = 0;
    const loads: number[] = [];
    const lazily = (i: number) => async () => {
      loads.push(++loading);
      await new Promise((resolve) => setTimeout(resolve, 1));
      loading--;
      return { dtype: 'uint8' as const, dims: [2 ** 20 + 1], data: new Uint8Array(2 ** 20 + 1).fill(i) };
    };
    const lazy = Array.from(
      { length: 5 },
      (_, i): OnnxInitializer => ({ name: `l${i}`, dtype: 'uint8', dims: [2 ** 20 + 1], data: lazily(i) }),
    );
    await saveOnnx(linearModel(lazy), dir);
    expect(loads).toEqual([1, 1, 1, 1, 1]);
  });

  it('keeps no large tensor in memory while the next one is loaded', async () => {
    setFlagsFromString('--expose-gc');
    const collectGarbage = runInNewContext('gc') as () => void;
    let last: WeakRef<object> | undefined;
    const held: boolean[] = [];
    const load = async () => {
      await new Promise((resolve) => setTimeout(resolve, 1)); // a turn of its own: weak references hold within one
      collectGarbage();
      held.push(last?.deref() !== undefined);
      const data = new Uint8Array(new ArrayBuffer(2 ** 27 + 1), 0, 2 ** 21); // holds much memory, is written fast
      last = new WeakRef(data.buffer);
      return { dtype: 'uint8' as const, dims: [2 ** 21], data };
    };
    await saveOnnx(linearModel(Array.from({ length: 6 }, (_, i) => big(`w${i}`, 2, () => load()))), dir);
    expect(held.slice(2)).toEqual([false, false, false, false]);
  });
});

describe('saving that fails', () => {
  const older = async (): Promise<Record<string, string>> => {
    await writeFile(join(dir, 'README.md'), 'mine');
    await saveOnnx(linearModel(), dir, { extra: { 'onnxformers.json': 'old' } });
    return contents(dir);
  };
  const failing = (data: OnnxInitializer['data']) => linearModel([big('a', 2), big('b', 1, data)]);

  it.each(['weights.bin', 'model.onnx', 'onnxformers.json'])(
    'for want of space for %s leaves an older model as it was',
    async (name) => {
      const before = await older();
      full.add(name);
      const saving = saveOnnx(linearModel([big('a', 3)]), dir, { extra: { 'onnxformers.json': 'new' } });
      await expect(saving).rejects.toThrow(/no space left on the disk\. The model takes 3\.0 MiB; nothing was changed in /);
      await expect(saving).rejects.toBeInstanceOf(FileError);
      expect(await contents(dir)).toEqual(before);
    },
  );

  it('does not create a folder', async () => {
    full.add('model.onnx');
    await expect(saveOnnx(linearModel(), join(dir, 'a/b/c'))).rejects.toThrow('no space left');
    expect(await contents(dir)).toEqual({});
    await mkdir(join(dir, 'empty'));
    await expect(saveOnnx(linearModel(), join(dir, 'empty'))).rejects.toThrow('no space left');
    expect(await contents(dir)).toEqual({ empty: 'folder' });
  });

  it.each(['weights.bin', 'model.onnx', 'onnxformers.json'])(
    'because %s cannot be replaced puts the others back',
    async (name) => {
      const before = await older();
      unmovable.add(name);
      const saving = saveOnnx(linearModel([big('a', 1)]), dir, { extra: { 'onnxformers.json': 'new' } });
      await expect(saving).rejects.toThrow(`${join(dir, name)}: in use by another program`);
      expect(await contents(dir)).toEqual(before);
    },
  );

  it('because it was aborted does not change an older model', async () => {
    const before = await older();
    const reason = new Error('enough');
    for (const at of [0, 1, 2]) {
      const controller = new AbortController();
      let pieces = 0;
      const onProgress = (): void => {
        if (pieces++ === at) controller.abort(reason);
      };
      await expect(saveOnnx(linearModel([big('a', 70)]), dir, { signal: controller.signal, onProgress })).rejects.toBe(reason);
      expect(await contents(dir)).toEqual(before);
    }
    await expect(saveOnnx(linearModel(), dir, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(await contents(dir)).toEqual(before);
  });

  it('because a weight cannot be loaded passes on why', async () => {
    const before = await older();
    const missing = Object.assign(new Error('ENOENT: shard-2'), { code: 'ENOENT' });
    await expect(
      saveOnnx(
        failing(async () => Promise.reject(missing)),
        dir,
      ),
    ).rejects.toBe(missing);
    await expect(
      saveOnnx(
        failing(async () => bias),
        dir,
      ),
    ).rejects.toThrow('weight "b": the loaded tensor does not match its declaration');
    expect(await contents(dir)).toEqual(before);
  });

  it('closes the streams it was reading', async () => {
    let closed = false;
    async function* pieces(): AsyncGenerator<Uint8Array> {
      try {
        for (;;) yield new Uint8Array(2 ** 19);
      } finally {
        closed = true;
      }
    }
    await expect(saveOnnx(failing(pieces), dir)).rejects.toThrow('expected 1048576 bytes, got 1572864 or more');
    expect(closed).toBe(true);
    closed = false;
    full.add('weights.bin');
    await expect(saveOnnx(linearModel([big('b', 99, pieces)]), dir)).rejects.toThrow('no space left');
    expect(closed).toBe(true);
  });

  it('reports what is wrong with the path', async () => {
    await writeFile(join(dir, 'file'), '');
    await expect(saveOnnx(linearModel(), join(dir, 'file'))).rejects.toThrow(
      `${join(dir, 'file')}: exists already and is not a folder`,
    );
    await expect(saveOnnx(linearModel(), join(dir, 'file/a'))).rejects.toThrow(
      `${join(dir, 'file/a')}: a part of the path is not a folder`,
    );
    for (const extra of ['../x', 'a/b', '..', '', 'model.onnx', 'a\\b']) {
      await expect(saveOnnx(linearModel(), dir, { extra: { [extra]: '' } })).rejects.toThrow(
        `cannot save under this name; expected distinct file names, got "${extra}"`,
      );
    }
    const elsewhere = { ...stored('w', weight), data: { location: 'w.bin', offset: 0, length: 2108 } };
    await expect(saveOnnx(linearModel([elsewhere]), dir)).rejects.toThrow(
      'internal: initializer "w" is in a file of another folder',
    );
    expect(await contents(dir)).toEqual({ file: '' });
  });
});

describe('a model of 2.2 GiB', () => {
  it('is saved tensor by tensor and run from its folder', { timeout: 600_000 }, async ({ skip }) => {
    if (!process.env.ONNXFORMERS_LARGE_FILES) skip('needs ONNXFORMERS_LARGE_FILES=1 and 3 GiB of disk');
    const rows = 190_001;
    const load = async (i: number) => ({
      dtype: 'float32' as const,
      dims: [rows, 1031],
      data: new Float32Array(rows * 1031).fill(i + 0.5),
    });
    const tables = [0, 1, 2].map(
      (i): OnnxInitializer => ({ name: `t${i}`, dtype: 'float32', dims: [rows, 1031], data: () => load(i) }),
    );
    const model = linearModel(tables, {
      graph: {
        name: 'large',
        inputs: [{ name: 'rows', dtype: 'int64', dims: ['n'] }],
        outputs: [{ name: 'y', dtype: 'float32', dims: [] }],
        nodes: [
          ...tables.map(({ name }) => node(name, 'Gather', [name, 'rows'], [`${name}_rows`])),
          node(
            'join',
            'Sum',
            tables.map(({ name }) => `${name}_rows`),
            ['sum'],
          ),
          node('mean', 'ReduceMean', ['sum'], ['y'], { attributes: { keepdims: { type: 'int', value: 0 } } }),
        ],
        initializers: tables,
      },
    });
    await saveOnnx(model, dir);
    expect((await stat(join(dir, 'weights.bin'))).size).toBeGreaterThan(2.18 * 2 ** 30);
    const session = await InferenceSession.create(join(dir, 'model.onnx'));
    const { y } = await session.run({ rows: new OrtTensor('int64', BigInt64Array.of(0n, BigInt(rows - 1)), [2]) });
    expect((y!.data as Float32Array)[0]).toBe(4.5);
  });
});
