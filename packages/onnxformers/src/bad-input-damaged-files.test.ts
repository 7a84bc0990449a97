// Real files with bits flipped, ends cut off and lengths that lie: read all the same, or refused by an error that says so.
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { load, openWeights, save, saveSafetensors } from '@onnxformers/core/node';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { build, compiled, lm } from './bad-input.test-helper';
import {
  encodeSafetensors,
  FileError,
  initialize,
  inspect,
  type OnnxformersError,
  parseSafetensors,
  readOnnx,
  WeightError,
} from './index';

let dir: string;
const files: Record<string, Uint8Array> = {};
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'damaged-'));
  const m = build(lm());
  const weights = initialize(m, { seed: 1 });
  await save(compiled(m, { weights, state: 'io' }), join(dir, 'model'));
  for (const name of await readdir(join(dir, 'model'))) files[name] = await bytesOf(join(dir, 'model', name));
  const tensors = await Promise.all([...weights].map(async ([name, w]) => [name, await w.load()] as const));
  files['model.safetensors'] = encodeSafetensors(tensors);
  const [first, second] = [new Map(tensors.slice(0, 5)), new Map(tensors.slice(5))];
  await saveSafetensors(join(dir, 'shards/a.safetensors'), first);
  await saveSafetensors(join(dir, 'shards/b.safetensors'), second);
  const map = Object.fromEntries([...first.keys()].map((k) => [k, 'a.safetensors']));
  for (const name of second.keys()) map[name] = 'b.safetensors';
  const index = JSON.stringify({ metadata: { total_size: 0 }, weight_map: map });
  await writeFile(join(dir, 'shards/model.safetensors.index.json'), index);
  for (const name of await readdir(join(dir, 'shards'))) files[`shards/${name}`] = await bytesOf(join(dir, 'shards', name));
});
/** In memory of its own: a Buffer's slices share theirs. */
const bytesOf = async (path: string): Promise<Uint8Array> => Uint8Array.from(await readFile(path));
afterAll(() => rm(dir, { recursive: true }));

/** A number as protobuf writes lengths. */
function varint(n: bigint): number[] {
  return n < 128n ? [Number(n)] : [Number(n & 127n) | 128, ...varint(n >> 7n)];
}
/** A number as safetensors writes the length of its header. */
const bytes8 = (n: bigint): number[] => [...new Uint8Array(BigUint64Array.of(n).buffer)];

type Damage = (bytes: Uint8Array) => Uint8Array;
/** A share of a file; doubles by themselves would be tiny mostly. */
const place = fc.nat(2 ** 20 - 1).map((n) => n / 2 ** 20);
const anyLength = fc.oneof(
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  fc.constantFrom(0n, 2n ** 31n - 1n, 2n ** 31n, 2n ** 32n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n),
);
const overwritten = (bytes: Uint8Array, at: number, by: readonly number[]): Uint8Array => {
  const changed = bytes.slice();
  by.forEach((b, i) => {
    if (at + i < changed.length) changed[at + i] = b;
  });
  return changed;
};
const damage: fc.Arbitrary<Damage> = fc.oneof(
  fc.array(fc.tuple(place, fc.nat(7)), { minLength: 1, maxLength: 3 }).map(
    (flips): Damage =>
      (bytes) => {
        const changed = bytes.slice();
        for (const [at, bit] of flips) changed[Math.floor(at * changed.length)]! ^= 1 << bit;
        return changed;
      },
  ),
  place.map(
    (at): Damage =>
      (bytes) =>
        bytes.slice(0, Math.floor(at * bytes.length)),
  ),
  fc.tuple(place, anyLength).map(
    ([at, n]): Damage =>
      (bytes) =>
        overwritten(bytes, Math.floor(at * bytes.length), varint(n)),
  ),
  anyLength.map(
    (n): Damage =>
      (bytes) =>
        overwritten(bytes, 0, bytes8(n)),
  ),
  fc.tuple(place, place, fc.nat(64)).map(
    ([from, to, length]): Damage =>
      (bytes) => {
        const start = Math.floor(from * bytes.length);
        return overwritten(bytes, Math.floor(to * bytes.length), [...bytes.slice(start, start + length)]);
      },
  ),
);

/** More memory than any of the files could be worth. */
const muchMemory = 2 ** 26;

/** Whether it is read; an error must be of the classes, say where, and nothing large may have been allocated on the way. */
async function isRead(
  f: () => unknown,
  classes: readonly (abstract new (...args: never[]) => OnnxformersError)[],
): Promise<boolean> {
  const before = process.memoryUsage().arrayBuffers;
  try {
    await f();
    return true;
  } catch (error) {
    expect(
      classes.some((c) => error instanceof c),
      String((error as Error).stack),
    ).toBe(true);
    const { path, problem, message } = error as OnnxformersError;
    expect([path, problem]).not.toContain('');
    expect(message).not.toMatch(/undefined|NaN|\[object/);
    return false;
  } finally {
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(muchMemory);
  }
}

/** Tries a reader on damaged files of a name: some are refused, and what is not damaged is read. */
async function tryDamaged(
  name: string,
  numRuns: number,
  read: (bytes: Uint8Array) => unknown,
  classes: Parameters<typeof isRead>[1],
): Promise<void> {
  const counts = { read: 0, refused: 0 };
  await fc.assert(
    fc.asyncProperty(damage, async (spoil) => {
      counts[(await isRead(() => read(spoil(files[name]!)), classes)) ? 'read' : 'refused']++;
    }),
    { numRuns },
  );
  expect(counts.refused).toBeGreaterThan(0);
  expect(await isRead(() => read(files[name]!), classes)).toBe(true);
}

describe('in memory', () => {
  it('a model is inspected or refused', () => tryDamaged('model.onnx', 3000, (bytes) => inspect(bytes), [FileError]));

  it('a model is read or refused', () => tryDamaged('model.onnx', 3000, (bytes) => readOnnx(bytes), [FileError]));

  it('a checkpoint is read, tensor by tensor, or refused', () =>
    tryDamaged(
      'model.safetensors',
      3000,
      async (bytes) => {
        let total = 0;
        for (const t of parseSafetensors(bytes).values()) total += (await t.load()).data.byteLength;
        expect(total).toBeLessThanOrEqual(bytes.length);
      },
      [FileError, WeightError],
    ));
});

describe('on the disk', () => {
  it.each(['model.onnx', 'weights.bin', 'onnxformers.json'])(
    'the folder of a model with a damaged %s is loaded or refused',
    async (name) => {
      const path = join(dir, 'model', name);
      await tryDamaged(
        name,
        300,
        async (bytes) => {
          await writeFile(path, bytes);
          await load(join(dir, 'model'));
        },
        [FileError],
      );
      await writeFile(path, files[name]!);
      await load(join(dir, 'model'));
    },
  );

  it.each(['a.safetensors', 'model.safetensors.index.json'])(
    'a checkpoint of several files with a damaged %s is opened or refused',
    async (name) => {
      const path = join(dir, 'shards', name);
      await tryDamaged(
        `shards/${name}`,
        300,
        async (bytes) => {
          await writeFile(path, bytes);
          for (const t of (await openWeights(join(dir, 'shards'))).values()) await t.load();
        },
        [FileError, WeightError],
      );
      await writeFile(path, files[`shards/${name}`]!);
      expect((await openWeights(join(dir, 'shards'))).size).toBeGreaterThan(5);
    },
  );
});
