import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ShapeError } from '../error';
import { bytesOfTensor, castNumber, castTensor, tensor, tensorFromBytes, toArray, toTensor } from './convert';
import { bytesOf, type DType, dtypes, isFloat, type Tensor } from './tensor';

const numbers = (t: Tensor) => [...toArray(t).data];

describe('arrays and tensors', () => {
  it('represents small integers exactly in every dtype, there and back', () => {
    const values = [0, 1, 1, 0, 1, 0, 1];
    for (const dtype of dtypes) {
      const t = tensor(dtype, [7, 1], values);
      expect(t).toMatchObject({ dtype, dims: [7, 1] });
      expect(bytesOfTensor(t).byteLength).toBe(bytesOf(dtype, 7));
      expect(numbers(t)).toEqual(values);
      expect(toTensor(toArray(t))).toEqual(t);
    }
  });

  it('packs 4-bit integers two to a byte, low half first', () => {
    expect([...(tensor('uint4', [3], [1, 15, 7]).data as Uint8Array)]).toEqual([0xf1, 0x07]);
    expect([...(tensor('int4', [3], [-8, 7, -1]).data as Uint8Array)]).toEqual([0x78, 0x0f]);
    expect(numbers(tensor('int4', [3], [-8, 7, -1]))).toEqual([-8, 7, -1]);
  });

  it('truncates and saturates numbers on their way into integers', () => {
    const values = [1.9, -1.9, 300.5, -300.5, NaN, Infinity, -Infinity];
    expect(numbers(tensor('int8', [7], values))).toEqual([1, -1, 127, -128, 0, 127, -128]);
    expect(numbers(tensor('uint8', [7], values))).toEqual([1, 0, 255, 0, 0, 255, 0]);
    expect(numbers(tensor('int4', [7], values))).toEqual([1, -1, 7, -8, 0, 7, -8]);
    expect(numbers(tensor('bool', [7], values))).toEqual([1, 1, 1, 1, 1, 1, 1]);
    expect([...(tensor('int64', [7], values).data as BigInt64Array)]).toEqual([
      1n,
      -1n,
      300n,
      -300n,
      0n,
      2n ** 63n - 1n,
      -(2n ** 63n),
    ]);
    expect([...(tensor('uint64', [7], values).data as BigUint64Array)]).toEqual([1n, 0n, 300n, 0n, 0n, 2n ** 64n - 1n, 0n]);
  });

  it('keeps the ends of int64 through float64', () => {
    const t = tensor('int64', [3], [2n ** 63n - 1n, -(2n ** 63n), 9007199254740991n]);
    expect(toTensor(toArray(t))).toEqual(t);
  });

  it('does not copy float64', () => {
    const data = Float64Array.of(1, 2);
    expect(toArray({ dtype: 'float64', dims: [2], data }).data).toBe(data);
    expect(toTensor({ dtype: 'float64', dims: [2], data }).data).toBe(data);
  });

  it('names both counts when they differ', () => {
    expect(() => tensor('float32', [2, 3], [1, 2, 3, 4, 5])).toThrow(ShapeError);
    expect(() => tensor('float32', [2, 3], [1, 2, 3, 4, 5])).toThrow(
      'tensor float32[2, 3]: the number of values does not fit the dims; expected 6 values, got 5',
    );
  });
});

describe('castTensor', () => {
  it('drops the high bits from integer to integer, as two’s complement does', () => {
    expect(numbers(castTensor(tensor('int16', [3], [200, -200, 77]), 'int8'))).toEqual([-56, 56, 77]);
    expect(numbers(castTensor(tensor('int32', [3], [-1, 17, 70000]), 'uint16'))).toEqual([65535, 17, 4464]);
    expect(numbers(castTensor(tensor('int32', [3], [-1, 17, 9]), 'int4'))).toEqual([-1, 1, -7]);
    expect([...(castTensor(tensor('int8', [2], [-2, 5]), 'uint64').data as BigUint64Array)]).toEqual([2n ** 64n - 2n, 5n]);
    expect([...(castTensor(tensor('int64', [2], [-2n, 5n]), 'uint64').data as BigUint64Array)]).toEqual([2n ** 64n - 2n, 5n]);
    expect(numbers(castTensor(tensor('int64', [2], [2n ** 40n + 3n, -5n]), 'int32'))).toEqual([3, -5]);
    expect(numbers(castTensor(tensor('uint64', [2], [2n ** 64n - 3n, 2n ** 32n]), 'int8'))).toEqual([-3, 0]);
  });

  it('agrees with castNumber wherever float64 is exact', () => {
    const narrow = dtypes.filter((d) => !d.endsWith('64'));
    fc.assert(
      fc.property(fc.constantFrom(...narrow), fc.constantFrom(...dtypes), fc.double({ min: -1e5, max: 1e5 }), (from, to, x) => {
        const source = tensor(from, [1], [x]);
        const value = numbers(source)[0]!;
        if (isFloat(to) || (to === 'uint64' && value < 0)) return;
        expect(numbers(castTensor(source, to))).toEqual([castNumber(value, from, to)]);
      }),
      { numRuns: 2000 },
    );
  });

  it('rounds float64 and int64 to 16 bits once', () => {
    const x = 1 + 2 ** -11 + 2 ** -40;
    expect(numbers(castTensor(tensor('float64', [1], [x]), 'float16'))).toEqual([1 + 2 ** -10]);
    expect(numbers(castTensor(tensor('float64', [1], [1 + 2 ** -8 + 2 ** -40]), 'bfloat16'))).toEqual([1 + 2 ** -7]);
    const big = (1n << 60n) + (1n << 36n) + 1n;
    expect(numbers(castTensor(tensor('int64', [2], [big, -big]), 'float32'))).toEqual([2 ** 60 + 2 ** 37, -(2 ** 60) - 2 ** 37]);
    expect(numbers(castTensor(tensor('int64', [1], [big - 1n]), 'float32'))).toEqual([2 ** 60]);
    const odd = (1n << 62n) + (1n << 54n) + 1n;
    expect(numbers(castTensor(tensor('int64', [1], [odd]), 'bfloat16'))).toEqual([2 ** 62 + 2 ** 55]);
  });

  it('makes bools of anything but zero', () => {
    expect(numbers(castTensor(tensor('float32', [4], [0, -0, 1e-30, NaN]), 'bool'))).toEqual([0, 0, 1, 1]);
    expect(numbers(castTensor(tensor('int64', [3], [0n, 256n, 2n ** 32n]), 'bool'))).toEqual([0, 1, 1]);
  });

  it('is exact from a float to a wider one', () => {
    const wider: [DType, DType][] = [
      ['float16', 'float32'],
      ['bfloat16', 'float32'],
      ['float16', 'float64'],
      ['float32', 'float64'],
    ];
    for (const [narrow, wide] of wider) {
      const t = tensor(narrow, [5], [0.1, -1e-7, 65504, 3.5, -0]);
      expect(castTensor(castTensor(t, wide), narrow)).toEqual(t);
      expect(numbers(castTensor(t, wide))).toEqual(numbers(t));
    }
  });

  it('returns the same tensor for the same dtype', () => {
    const t = tensor('float16', [1], [3]);
    expect(castTensor(t, 'float16')).toBe(t);
  });
});

describe('bytes', () => {
  it('reads a tensor back from its bytes, as a view when aligned and as a copy when not', () => {
    for (const dtype of dtypes) {
      const t = tensor(dtype, [5], [1, 0, 1, 1, 0]);
      const bytes = bytesOfTensor(t);
      const buffer = new ArrayBuffer(bytes.length + 9);
      for (const offset of [8, 9]) {
        const place = new Uint8Array(buffer, offset, bytes.length);
        place.set(bytes);
        const back = tensorFromBytes(dtype, [5], place);
        expect(back).toEqual(t);
        expect(back.data.buffer === buffer).toBe(offset === 8 || back.data.BYTES_PER_ELEMENT === 1);
      }
    }
  });

  it('copies a Node Buffer where it must, though its slice is a view', () => {
    const t = tensor('float32', [2], [1, 2]);
    const odd = Buffer.concat([Buffer.of(0), bytesOfTensor(t)]);
    expect(tensorFromBytes('float32', [2], Buffer.from(odd.buffer, odd.byteOffset + 1, 8))).toEqual(t);
  });

  it('is little-endian', () => {
    expect([...bytesOfTensor(tensor('float32', [1], [1]))]).toEqual([0, 0, 0x80, 0x3f]);
  });

  it('refuses a wrong number of bytes', () => {
    expect(() => tensorFromBytes('float16', [3], new Uint8Array(5))).toThrow(
      'tensor float16[3]: the number of bytes does not fit the dims; expected 6 bytes, got a Uint8Array of 5',
    );
  });
});
