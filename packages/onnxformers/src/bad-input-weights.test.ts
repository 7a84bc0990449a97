// Weights and checkpoints that are wrong: each a clear error of one of the seven classes.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openWeights, save } from '@onnxformers/core/node';
import { afterAll, beforeAll, describe, it } from 'vitest';
import { build, compiled, fails, type Kind, lm, type Parts } from './bad-input.test-helper';
import { ConfigError, FileError, initialize, type LazyTensor, type Tensor, tensor, WeightError } from './index';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'bad-input-'));
});
afterAll(() => rm(dir, { recursive: true }));

describe('weights', () => {
  const m = build(lm());
  const weights = initialize(m, { seed: 1 });
  const with1 = (name: string, t: unknown) =>
    compiled(m, { weights: new Map<string, Tensor | LazyTensor>([...weights, [name, t as Tensor]]) });
  const path = 'weight "embedding.weight"';

  it('of other dims', () =>
    fails(() => with1('embedding.weight', tensor('float32', [3], [1, 2, 3])), WeightError, {
      path,
      problem: 'does not fit',
      expected: 'dims [23, 12]',
      got: '[3]',
      hint: /^Is it the checkpoint of this config\? .* expressWeight/,
    }));
  it('of another sort of number', () =>
    fails(() => with1('embedding.weight', tensor('int64', [23, 12], new Array(276).fill(1))), WeightError, {
      path,
      problem: 'does not fit',
      expected: 'float32',
      got: 'int64',
      hint: /^Is it the checkpoint of this config\?/,
    }));
  it('that are missing', () =>
    fails(() => compiled(m, { weights: new Map([...weights].slice(1)) }), WeightError, {
      path,
      problem: 'missing',
      expected: 'dims [23, 12]',
      got: 'nothing',
      hint: /^Add it/,
    }));
  it('that are unknown', () =>
    fails(() => with1('embeding.weight', tensor('float32', [1], [1])), WeightError, {
      path: 'weight "embeding.weight"',
      problem: 'unknown; the model has no weight of this name',
      got: '"embeding.weight"',
      hint: 'Did you mean "embedding.weight"?',
    }));
  it('that do not match their declaration', () =>
    fails(
      () =>
        save(
          with1('embedding.weight', () => tensor('float32', [3], [1, 2, 3])),
          join(dir, 'lying'),
        ),
      WeightError,
      { path, expected: 'dims [23, 12]', got: '[3]' },
    ));
  it('that contain too little', () =>
    fails(
      () => save(with1('embedding.weight', { dtype: 'float32', dims: [23, 12], data: new Float32Array(5) }), join(dir, 'short')),
      WeightError,
      {
        path,
        expected: '1104 bytes',
        got: '20',
      },
    ));
  it('that nobody gave', () =>
    fails(() => save(compiled(m), join(dir, 'none')), WeightError, {
      path,
      problem: 'the model was compiled without weights',
      hint: 'Pass weights to compile(): a checkpoint, or initialize(module)',
    }));
  it('of a wrong scheme or seed', async () => {
    await fails(() => initialize(m, { scheme: 'vti' as never }), ConfigError, {
      path: 'initialize.scheme',
      got: '"vti"',
      hint: 'Did you mean "vit"?',
    });
    await fails(() => initialize(m, { seed: 1.5 }), ConfigError, {
      path: 'seed',
      expected: 'an integer from 0 to 2^53 - 1',
      got: '1.5',
    });
  });
});

describe('safetensors', () => {
  /** The bytes of a file with this header. */
  function bytes(header: unknown, data = 0, length?: bigint): Uint8Array {
    const text = new TextEncoder().encode(typeof header === 'string' ? header : JSON.stringify(header));
    const all = new Uint8Array(8 + text.length + data);
    new DataView(all.buffer).setBigUint64(0, length ?? BigInt(text.length), true);
    all.set(text, 8);
    return all;
  }
  const damaged = 'It is damaged, or not a safetensors file; download it again';
  const entry = (shape: number[], from: number, to: number, dtype = 'F32') => ({ dtype, shape, data_offsets: [from, to] });

  it.each<[string, Uint8Array, Kind, Parts]>([
    [
      'an empty file',
      new Uint8Array(0),
      FileError,
      { problem: 'too short for a safetensors file', expected: 'at least 8 bytes', got: '0', hint: damaged },
    ],
    [
      'a header cut off',
      bytes('{"a":', 0, 20n),
      FileError,
      {
        problem: 'the file ends within its header',
        expected: 'a header of 20 bytes',
        got: '5',
        hint: 'It may be truncated; download it again',
      },
    ],
    [
      'a header that is too long',
      bytes({}, 0, 2n ** 60n),
      FileError,
      {
        problem: 'the header is too long',
        expected: 'at most 16777216 bytes',
        got: '1152921504606846976',
        hint: damaged,
      },
    ],
    [
      'a header that is not JSON',
      bytes('{"a":'),
      FileError,
      { problem: 'the header is not JSON', got: /end of JSON input/, hint: damaged },
    ],
    [
      'data cut off',
      bytes({ a: entry([2], 0, 8) }, 4),
      WeightError,
      {
        path: /tensor "a"$/,
        problem: 'the data offsets are outside of the file',
        expected: 'a range within 4 bytes of data',
        got: '0 to 8',
        hint: damaged,
      },
    ],
    [
      'tensors over each other',
      bytes({ a: entry([2], 0, 8), b: entry([2], 4, 12) }, 12),
      FileError,
      { path: /tensor "b"$/, problem: 'overlaps tensor "a"', expected: 'a start at 8 or later', got: '4', hint: damaged },
    ],
    [
      'dims that lie',
      bytes({ a: entry([3], 0, 8) }, 8),
      WeightError,
      { problem: 'the dims do not match the number of bytes', expected: '12 bytes for F32[3]', got: '8', hint: damaged },
    ],
    [
      'a dtype that is none',
      bytes({ a: entry([2], 0, 8, 'F33') }, 8),
      WeightError,
      { problem: 'a dtype that is not supported', expected: /^F64, F32/, got: '"F33"', hint: 'Convert the file to one of these' },
    ],
    [
      'a hole between tensors',
      bytes({ a: entry([1], 0, 4), b: entry([1], 8, 12) }, 12),
      FileError,
      { path: /tensor "b"$/, problem: 'leaves a hole after tensor "a"', expected: 'a start at 4', got: '8', hint: damaged },
    ],
    [
      'bytes that belong to no tensor',
      bytes({ a: entry([1], 0, 4) }, 12),
      FileError,
      { problem: 'bytes after the last tensor', expected: '66 bytes', got: '74', hint: /^It is damaged/ },
    ],
    [
      'dims below 0',
      bytes({ a: entry([-1], 0, 4) }, 4),
      WeightError,
      { problem: 'the shape is invalid', expected: 'a list of integers from 0 to 2^53 - 1', got: '[-1]', hint: damaged },
    ],
  ])('%s', async (_, content, kind, parts) => {
    const file = join(dir, 'w.safetensors');
    await writeFile(file, content);
    await fails(() => openWeights(file), kind, { path: /w\.safetensors/, ...parts });
  });

  it('no such file', () =>
    fails(() => openWeights(join(dir, 'nowhere')), FileError, { path: join(dir, 'nowhere'), problem: 'no such file or folder' }));
});
