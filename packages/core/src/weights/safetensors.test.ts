import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FileError, OnnxformersError, WeightError } from '../error';
import { bytesOfTensor, tensor, tensorFromBytes } from '../tensor/convert';
import { bytesOf, countOf, type DType, dtypes, type Tensor } from '../tensor/tensor';
import { lazily, lazyTensor } from './lazy';
import {
  type ByteSource,
  encodeSafetensors,
  openSafetensors,
  parseSafetensors,
  readHeader,
  writeSafetensors,
} from './safetensors';

const written: readonly DType[] = dtypes.filter((dtype) => dtype !== 'int4' && dtype !== 'uint4');

const anyTensor: fc.Arbitrary<Tensor> = fc
  .tuple(fc.constantFrom(...written), fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 3 }))
  .chain(([dtype, dims]) => {
    const length = bytesOf(dtype, countOf(dims));
    return fc.uint8Array({ minLength: length, maxLength: length }).map((bytes) => tensorFromBytes(dtype, dims, bytes.slice()));
  });
const anyName = fc.oneof(
  fc.constantFrom('__proto__', 'constructor', '', '10', '9', 'a.b', '"', '\\', '\ud800', 'é\n'),
  fc.string({ unit: 'binary' }),
);
const anyTensors = fc
  .uniqueArray(fc.tuple(anyName, anyTensor), { selector: ([name]) => name, maxLength: 5 })
  .filter((list) => list.every(([name]) => name !== '__metadata__'));

const sameTensor = (a: Tensor, b: Tensor) => {
  expect([a.dtype, ...a.dims]).toEqual([b.dtype, ...b.dims]);
  expect([...bytesOfTensor(a)]).toEqual([...bytesOfTensor(b)]);
};
const source = (bytes: Uint8Array, name = 'model.safetensors'): ByteSource => ({
  name,
  size: bytes.length,
  read: async (offset, length) => {
    if (offset + length > bytes.length) throw new Error('read beyond the end');
    return bytes.slice(offset, offset + length);
  },
});
const text = (x: string) => new TextEncoder().encode(x);
/** A file of a header as it is given, true or not. */
function file(header: unknown, dataLength: number, headerLength?: bigint): Uint8Array {
  const json = text(typeof header === 'string' ? header : JSON.stringify(header));
  const bytes = new Uint8Array(8 + json.length + dataLength);
  new DataView(bytes.buffer).setBigUint64(0, headerLength ?? BigInt(json.length), true);
  bytes.set(json, 8);
  return bytes;
}

describe('a written file', () => {
  it('is read back: names, dtypes, dims, bytes and metadata', async () => {
    await fc.assert(
      fc.asyncProperty(anyTensors, fc.dictionary(fc.string(), fc.string()), async (tensors, metadata) => {
        const bytes = encodeSafetensors(tensors, metadata);
        const parsed = parseSafetensors(bytes);
        const opened = await openSafetensors(source(bytes));
        expect([...parsed.keys()].sort()).toEqual(tensors.map(([name]) => name).sort());
        expect({ ...readHeader(bytes).metadata }).toEqual({ ...metadata });
        for (const [name, t] of tensors) {
          sameTensor(parsed.get(name)!.loadSync!(), t);
          sameTensor(await parsed.get(name)!.load(), t);
          sameTensor(await opened.get(name)!.load(), t);
          expect(opened.get(name)!.byteLength).toBe(bytesOfTensor(t).length);
          expect(opened.get(name)!.loadSync).toBeUndefined();
        }
      }),
    );
  });

  it('is the same in whatever order tensors and metadata come, lazy or not', async () => {
    await fc.assert(
      fc.asyncProperty(anyTensors, fc.dictionary(fc.string(), fc.string()), async (tensors, metadata) => {
        const once = encodeSafetensors(tensors, metadata);
        const turned = Object.fromEntries(Object.entries(metadata).reverse());
        const chunks: Uint8Array[] = [];
        const lazy = [...tensors].reverse().map(([name, t], i) => [name, i % 2 ? t : lazyTensor(t)] as const);
        for await (const chunk of writeSafetensors(lazy, turned)) chunks.push(chunk);
        expect(Buffer.concat(chunks).equals(once)).toBe(true);
      }),
    );
  });

  it('begins its data at a multiple of 8 and each tensor at one of its element size', () => {
    fc.assert(
      fc.property(anyTensors, (tensors) => {
        for (const [, { dtype, start }] of readHeader(encodeSafetensors(tensors)).entries)
          expect(start % bytesOf(dtype, 1)).toBe(0);
        const parsed = [...parseSafetensors(encodeSafetensors(tensors)).values()];
        expect(new Set(parsed.map((t) => t.loadSync!().data.buffer)).size).toBeLessThanOrEqual(1);
      }),
    );
  });

  it('has exactly these bytes', () => {
    const bytes = encodeSafetensors(
      [
        ['b', tensor('int8', [3], [1, 2, 3])],
        ['a', tensor('bool', [], [1])],
        ['c', tensor('float16', [1, 2], [1, -2])],
      ],
      { z: '1', format: 'pt' },
    );
    const header =
      '{"__metadata__":{"format":"pt","z":"1"},"a":{"dtype":"BOOL","shape":[],"data_offsets":[4,5]},' +
      '"b":{"dtype":"I8","shape":[3],"data_offsets":[5,8]},"c":{"dtype":"F16","shape":[1,2],"data_offsets":[0,4]}}';
    const padded = header.padEnd(Math.ceil(header.length / 8) * 8);
    expect([...bytes.subarray(0, 8)]).toEqual([padded.length, 0, 0, 0, 0, 0, 0, 0]);
    expect(new TextDecoder().decode(bytes.subarray(8, -8))).toBe(padded);
    expect([...bytes.subarray(-8)]).toEqual([0x00, 0x3c, 0x00, 0xc0, 1, 1, 2, 3]);
  });

  it('loads lazy tensors one at a time, when they are written', async () => {
    const loaded: string[] = [];
    const make = (name: string) => () => {
      loaded.push(name);
      return tensor('int8', [1], [7]);
    };
    const of = (name: string) => [name, lazily('int8', [1], make(name))] as const;
    const chunks = writeSafetensors([of('b'), of('a')]);
    await chunks.next();
    expect(loaded).toEqual([]);
    await chunks.next();
    expect(loaded).toEqual(['a']);
  });

  it('is refused for values that the format does not support', async () => {
    const one = tensor('int8', [1], [1]);
    expect(() => encodeSafetensors([['q', tensor('int4', [2], [1, 2])]])).toThrow(
      'tensor "q": a dtype that safetensors does not support; expected float64, float32, float16, bfloat16, int64, int32, int16, int8, uint64, uint32, uint16, uint8, bool, got int4',
    );
    expect(() =>
      encodeSafetensors([
        ['q', one],
        ['q', one],
      ]),
    ).toThrow('tensor "q": duplicate name');
    expect(() => encodeSafetensors([['__metadata__', one]])).toThrow('tensor "__metadata__": a name that the format reserves');
    const liar = { ...lazyTensor(one), dims: [2] };
    const write = async () => {
      for await (const _ of writeSafetensors([['q', liar]]));
    };
    await expect(write).rejects.toThrow(
      'tensor "q": it does not match its declaration; expected int8[2], got 1 bytes of int8[1]',
    );
  });
});

describe('a broken file', () => {
  const f32 = (start: number, end: number, shape = [(end - start) / 4]) => ({ dtype: 'F32', shape, data_offsets: [start, end] });
  const cases: [string, Uint8Array, typeof FileError | typeof WeightError, string][] = [
    ['empty', new Uint8Array(), FileError, 'w: too short for a safetensors file; expected at least 8 bytes, got 0'],
    ['seven bytes', new Uint8Array(7), FileError, 'w: too short for a safetensors file; expected at least 8 bytes, got 7'],
    ['no header', new Uint8Array(8), FileError, 'w: the header is not a JSON object; expected a header that begins with {'],
    [
      'absurd length',
      file('{}', 0, 2n ** 64n - 1n),
      FileError,
      'w: the header is too long; expected at most 16777216 bytes, got 18446744073709551615. It is damaged, or not a safetensors file',
    ],
    [
      'cut header',
      file('{}', 0, 9n),
      FileError,
      'w: the file ends within its header; expected a header of 9 bytes, got 2. It may be truncated; download it again',
    ],
    ['no JSON', file('{"a"', 0), FileError, 'w: the header is not JSON'],
    ['bad UTF-8', file('{}', 1, 3n).fill(0xff, 10), FileError, 'w: the header is not JSON'],
    ['list', file('[]', 0), FileError, 'w: the header is not a JSON object'],
    ['leading space', file(' {}', 0), FileError, 'w: the header is not a JSON object'],
    [
      'twice',
      file('{"a":{"dtype":"I8","shape":[0],"data_offsets":[0,0]},"\\u0061":{"dtype":"I8","shape":[0],"data_offsets":[0,0]}}', 0),
      FileError,
      'w: the header contains "a" twice',
    ],
    [
      'twice within',
      file('{"a":{"dtype":"I8","dtype":"U8","shape":[0],"data_offsets":[0,0]}}', 0),
      FileError,
      'w: the header contains "dtype" twice',
    ],
    [
      'metadata',
      file({ __metadata__: { a: 1 } }, 0),
      FileError,
      "w: the header's __metadata__; expected an object of strings, got an object with a",
    ],
    [
      'no tensor',
      file({ a: 3 }, 0),
      WeightError,
      'w: tensor "a": not a tensor; expected an object with dtype, shape and data_offsets, got 3',
    ],
    [
      'dtype',
      file({ a: { dtype: 'F8_E4M3', shape: [1], data_offsets: [0, 1] } }, 1),
      WeightError,
      'w: tensor "a": a dtype that is not supported; expected F64, F32, F16, BF16, I64, I32, I16, I8, U64, U32, U16, U8, BOOL, got "F8_E4M3"',
    ],
    [
      'shape',
      file({ a: { dtype: 'I8', shape: [-1], data_offsets: [0, 1] } }, 1),
      WeightError,
      'w: tensor "a": the shape is invalid; expected a list of integers from 0 to 2^53 - 1, got [-1]',
    ],
    [
      'shape beyond 2^53',
      file('{"a":{"dtype":"I8","shape":[9007199254740993],"data_offsets":[0,1]}}', 1),
      WeightError,
      'w: tensor "a": the shape is invalid; expected a list of integers from 0 to 2^53 - 1, got [9007199254740992]',
    ],
    [
      'offsets',
      file({ a: { dtype: 'I8', shape: [1], data_offsets: [0] } }, 1),
      WeightError,
      'w: tensor "a": the data offsets are invalid; expected two integers from 0 to 2^53 - 1, got [0]',
    ],
    [
      'offset beyond 2^53',
      file('{"a":{"dtype":"I8","shape":[1],"data_offsets":[0,9007199254740993]}}', 1),
      WeightError,
      'w: tensor "a": the data offsets are invalid; expected two integers',
    ],
    [
      'backwards',
      file({ a: f32(8, 4, [1]) }, 8),
      WeightError,
      'w: tensor "a": the data offsets are outside of the file; expected a range within 8 bytes of data, got 8 to 4',
    ],
    [
      'truncated',
      file({ a: f32(0, 8) }, 7),
      WeightError,
      'w: tensor "a": the data offsets are outside of the file; expected a range within 7 bytes of data, got 0 to 8',
    ],
    [
      'dims',
      file({ a: f32(0, 8, [3]) }, 8),
      WeightError,
      'w: tensor "a": the dims do not match the number of bytes; expected 12 bytes for F32[3], got 8',
    ],
    [
      'overflowing dims',
      file({ a: f32(0, 8, [2 ** 52, 2 ** 52, 2 ** 52]) }, 8),
      WeightError,
      'w: tensor "a": the dims do not match the number of bytes',
    ],
    [
      'overlap',
      file({ a: f32(0, 8), b: f32(4, 12) }, 12),
      FileError,
      'w: tensor "b": overlaps tensor "a"; expected a start at 8 or later, got 4',
    ],
    [
      'same bytes',
      file({ a: f32(0, 8), b: f32(0, 8) }, 8),
      FileError,
      'w: tensor "b": overlaps tensor "a"; expected a start at 8 or later, got 0',
    ],
    [
      'hole',
      file({ a: f32(0, 4), b: f32(8, 12) }, 12),
      FileError,
      'w: tensor "b": leaves a hole after tensor "a"; expected a start at 4, got 8',
    ],
    [
      'hole in front',
      file({ a: f32(4, 8) }, 8),
      FileError,
      'w: tensor "a": leaves a hole after the start of the data; expected a start at 0, got 4',
    ],
  ];
  it.each(cases)('%s', async (_, bytes, type, message) => {
    const caught = (error: unknown) => {
      expect(error).toBeInstanceOf(type);
      expect((error as Error).message).toContain(message);
      return true;
    };
    expect(() => readHeader(bytes, 'w')).toThrow(expect.toSatisfy(caught));
    expect(() => parseSafetensors(bytes, 'w')).toThrow(expect.toSatisfy(caught));
    await expect(openSafetensors(source(bytes, 'w'))).rejects.toSatisfy(caught);
  });

  it('bytes after the last tensor', () => {
    const extra = file({ a: f32(0, 8) }, 9);
    expect(() => readHeader(extra, 'w')).toThrow(
      `w: bytes after the last tensor; expected ${extra.length - 1} bytes, got ${extra.length}. It is damaged, or does not match its header`,
    );
  });

  it('a source that ends early', async () => {
    const bytes = encodeSafetensors([['a', tensor('int8', [3], [1, 2, 3])]]);
    const short: ByteSource = {
      size: bytes.length,
      read: async (offset, length) => bytes.slice(offset, Math.min(offset + length, bytes.length - 1)),
    };
    const tensors = await openSafetensors(short);
    await expect(tensors.get('a')!.load()).rejects.toThrow(
      `safetensors: tensor "a": the source ended before bytes ${bytes.length - 3} to ${bytes.length} were read; expected 3 bytes, got 2`,
    );
  });
});

describe('hostile bytes', () => {
  /** Reads everything there is to read; a file that is accepted must make sense as a whole. */
  async function readAll(bytes: Uint8Array): Promise<'read' | 'refused'> {
    let furthest = 0;
    const counting: ByteSource = {
      size: bytes.length,
      read: async (offset, length) => {
        furthest = Math.max(furthest, offset + length);
        return bytes.slice(offset, offset + length);
      },
    };
    try {
      const tensors = parseSafetensors(bytes);
      const opened = await openSafetensors(counting);
      let total = 0;
      for (const [name, lazy] of tensors) {
        const t = lazy.loadSync!();
        total += bytesOfTensor(t).length;
        sameTensor(await opened.get(name)!.load(), t);
      }
      const header = readHeader(bytes);
      const start = Math.min(bytes.length, ...[...header.entries.values()].map((e) => e.start));
      expect(total).toBe(bytes.length - start);
      return 'read';
    } catch (error) {
      if (!(error instanceof OnnxformersError)) throw error;
      expect(error.path).not.toBe('');
      await expect(openSafetensors(counting)).rejects.toBeInstanceOf(OnnxformersError);
      return 'refused';
    } finally {
      expect(furthest).toBeLessThanOrEqual(bytes.length);
    }
  }

  it('are read or refused, if they are arbitrary', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 64 }), async (bytes) => {
        await readAll(bytes);
      }),
      { numRuns: 500 },
    );
  });

  it('are read or refused, if they are a file with bytes changed, cut off or added', async () => {
    const change = fc.tuple(fc.nat(), fc.nat(255));
    const seen = new Set<string>();
    await fc.assert(
      fc.asyncProperty(
        anyTensors,
        fc.array(change, { maxLength: 4 }),
        fc.integer({ min: -9, max: 9 }),
        async (tensors, changes, grow) => {
          const original = encodeSafetensors(tensors);
          const bytes = new Uint8Array(Math.max(0, original.length + (changes.length % 2 ? 0 : grow)));
          bytes.set(original.subarray(0, bytes.length));
          for (const [at, value] of changes) bytes[at % Math.max(1, bytes.length)] = value;
          seen.add(await readAll(bytes));
        },
      ),
      { numRuns: 2000 },
    );
    expect(seen).toEqual(new Set(['read', 'refused']));
  });

  it('are read or refused, if the header is valid JSON with wrong contents', async () => {
    const number = fc.oneof(fc.nat(40), fc.constantFrom(-1, 0.5, 2 ** 53, 2 ** 53 - 1, 1e308, '4', null));
    const info = fc.record(
      {
        dtype: fc.constantFrom('F32', 'I8', 'BOOL', 'F4', 'I64', 0, '__proto__'),
        shape: fc.oneof(fc.array(number, { maxLength: 3 }), fc.constant('')),
        data_offsets: fc.array(number, { minLength: 1, maxLength: 3 }),
      },
      { requiredKeys: [] },
    );
    const header = fc.dictionary(fc.constantFrom('a', 'b', '__metadata__', 'toString'), fc.oneof(info, fc.jsonValue()));
    await fc.assert(
      fc.asyncProperty(header, fc.nat(40), fc.option(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })), async (h, length, lie) => {
        await readAll(file(h, length, lie ?? undefined));
      }),
      { numRuns: 2000 },
    );
  });

  it('are read in one pass, if the header is large: deep, long, full of quotes and backslashes', async () => {
    const deep = `{"a":${'['.repeat(300_000)}${']'.repeat(300_000)}}`;
    const long = `{"${'\\\\\\"'.repeat(300_000)}":{}}`;
    const many = `{${Array.from({ length: 20_000 }, (_, i) => `"${i}":{"dtype":"I8","shape":[1],"data_offsets":[${i},${i + 1}]}`).join(',')}}`;
    expect(await readAll(file(deep, 0))).toBe('refused');
    expect(await readAll(file(long, 0))).toBe('refused');
    expect(await readAll(file(many, 20_000))).toBe('read');
  });
});
