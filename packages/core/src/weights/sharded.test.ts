import { describe, expect, it } from 'vitest';
import { FileError } from '../error';
import { tensor } from '../tensor/convert';
import { encodeSafetensors } from './safetensors';
import { openSharded } from './sharded';

const a = tensor('float32', [2], [1, 2]);
const b = tensor('int64', [1], [7]);
const files: Record<string, Uint8Array> = {
  'model-00001-of-00002.safetensors': encodeSafetensors([
    ['a', a],
    ['spare', b],
  ]),
  'model-00002-of-00002.safetensors': encodeSafetensors([['b', b]]),
};
const opened: string[] = [];
const open = (name: string) => {
  opened.push(name);
  const bytes = files[name]!;
  return { name, size: bytes.length, read: async (offset: number, length: number) => bytes.slice(offset, offset + length) };
};
const index = (map: unknown) => JSON.stringify({ metadata: { total_size: 16 }, weight_map: map });

describe('openSharded', () => {
  it('finds each tensor in its file, and opens each file once', async () => {
    const map = {
      a: 'model-00001-of-00002.safetensors',
      b: 'model-00002-of-00002.safetensors',
      spare: 'model-00001-of-00002.safetensors',
    };
    const tensors = await openSharded(index(map), open);
    expect([...tensors.keys()]).toEqual(['a', 'b', 'spare']);
    expect(await tensors.get('a')!.load()).toEqual(a);
    expect(await tensors.get('b')!.load()).toEqual(b);
    expect(opened).toEqual(['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors']);
  });

  it.each([
    ['no JSON', '{', 'the index is not JSON'],
    ['no map', '{}', 'i: the index has no weight_map; expected an object of file names, got nothing'],
    ['null', 'null', 'i: the index has no weight_map; expected an object of file names, got nothing'],
    ['a list', index([]), 'i: the index has no weight_map; expected an object of file names, got []'],
    ['twice', '{"weight_map":{"a":"x","a":"y"}}', 'i: the index contains "a" twice'],
    ['a number', index({ a: 3 }), 'i: the file of tensor "a"; expected a file name without a folder, got 3'],
    ['a way out', index({ a: '../secret' }), 'i: the file of tensor "a"; expected a file name without a folder, got "../secret"'],
    ['another way out', index({ a: '..' }), 'expected a file name without a folder, got ".."'],
    ['a drive', index({ a: 'c:x' }), 'expected a file name without a folder, got "c:x"'],
    [
      'the wrong file',
      index({ a: 'model-00002-of-00002.safetensors' }),
      'i: tensor "a" is not in "model-00002-of-00002.safetensors". The index and the files belong to different checkpoints, or a file is truncated',
    ],
  ])('refuses %s', async (_, json, message) => {
    const failing = openSharded(json, open, 'i');
    await expect(failing).rejects.toThrow(message);
    await expect(failing).rejects.toBeInstanceOf(FileError);
  });
});
