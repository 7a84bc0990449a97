import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { arrayOf, countOf, dtypes, type TensorData } from '../tensor/tensor';
import { readStrided, readStridedPieces } from './strided';

const wide = dtypes.filter((d) => d !== 'int4' && d !== 'uint4');

/** Every byte different from its neighbours in a way that rounding or sign extension would show. */
function data(dtype: (typeof wide)[number], count: number): TensorData {
  const bytes = new Uint8Array(count * arrayOf(dtype).BYTES_PER_ELEMENT).map((_, i) => Math.imul(i + 1, 2654435761) >>> 24);
  return new (arrayOf(dtype))(bytes.buffer);
}
const bytesOf = (x: TensorData): Uint8Array => new Uint8Array(x.buffer, x.byteOffset, x.byteLength);

/** `toEqual` looks at every byte by itself, so it is asked only for what differs. */
function expectSame(got: Uint8Array, expected: Uint8Array): void {
  if (!Buffer.from(got.buffer, got.byteOffset, got.byteLength).equals(expected)) expect(got).toEqual(expected);
}

/** The elements, by one index after the other. */
function plain(x: TensorData, sizes: readonly number[], strides: readonly number[], start: number): Uint8Array {
  const width = x.BYTES_PER_ELEMENT;
  const all = bytesOf(x);
  const out = new Uint8Array(countOf(sizes) * width);
  for (let n = 0; n < countOf(sizes); n++) {
    let [at, rest] = [start, n];
    for (let axis = sizes.length - 1; axis >= 0; axis--) {
      at += (rest % sizes[axis]!) * strides[axis]!;
      rest = Math.floor(rest / sizes[axis]!);
    }
    out.set(all.subarray(at * width, (at + 1) * width), n * width);
  }
  return out;
}

function check(
  dtype: (typeof wide)[number],
  dims: readonly number[],
  sizes: readonly number[],
  strides: readonly number[],
  start = 0,
) {
  const x = data(dtype, countOf(dims));
  expectSame(bytesOf(readStrided(x, sizes, strides, start)), plain(x, sizes, strides, start));
}

/** Axes of an array in some order, some of them cut, in steps, backwards or repeated. */
const views = fc
  .tuple(
    fc.constantFrom(...wide),
    fc.array(fc.record({ size: fc.integer({ min: 1, max: 7 }), from: fc.nat(6), step: fc.constantFrom(1, 1, 2, -1, 0) }), {
      maxLength: 4,
    }),
    fc.infiniteStream(fc.nat()),
  )
  .map(([dtype, axes, order]) => {
    const dims = axes.map(({ size }) => size);
    let start = 0;
    const seen = axes.map(({ size, from, step }, axis) => {
      const stride = countOf(dims.slice(axis + 1));
      const first = step < 0 ? size - 1 - (from % size) : from % size;
      start += first * stride;
      const room = step < 0 ? first + 1 : size - first;
      return { size: step === 0 ? 3 : Math.ceil(room / Math.abs(step)), stride: stride * step, key: order.next().value };
    });
    seen.sort((a, b) => a.key - b.key);
    return [dtype, dims, seen.map(({ size }) => size), seen.map(({ stride }) => stride), start] as const;
  });

describe('reading through strides', () => {
  it('is compared byte for byte and in length', () => {
    const bytes = Uint8Array.of(1, 2, 3);
    expectSame(bytes.subarray(1), Uint8Array.of(2, 3));
    expect(() => expectSame(bytes, Uint8Array.of(1, 2, 4))).toThrow();
    expect(() => expectSame(bytes, Uint8Array.of(1, 2))).toThrow();
  });

  it('agrees with plain loops, byte for byte', () => {
    fc.assert(
      fc.property(views, (view) => check(...view)),
      { numRuns: 500 },
    );
  });

  // Larger than a tile in both directions; even and odd, since 16-bit elements are turned in pairs where they can be.
  it.each(wide)('transposes matrices of %s', (dtype) => {
    for (const [rows, columns] of [
      [67, 71],
      [66, 70],
      [66, 68],
      [66, 71],
      [67, 70],
      [64, 2],
      [1, 37],
    ] as const)
      check(dtype, [3, rows, columns], [3, columns, rows], [rows * columns, 1, columns]);
  });

  it('transposes parts of matrices at any offset', () => {
    for (const dtype of ['float16', 'float32', 'int8'] as const)
      for (const [from, count] of [
        [0, 40],
        [1, 40],
        [2, 38],
        [3, 41],
      ] as const) {
        check(dtype, [90, 50], [50, count], [1, 50], from * 50);
        check(dtype, [90, 50], [count, 90], [1, 50], from);
      }
  });

  it('returns the same in pieces, which share memory', () => {
    const rooms = fc.integer({ min: 8, max: 400 }).map((bytes) => new Uint8Array(new ArrayBuffer(bytes + 16), 8, bytes));
    fc.assert(
      fc.property(views, rooms, ([dtype, dims, sizes, strides, start], room) => {
        const x = data(dtype, countOf(dims));
        const joined: number[] = [];
        for (const piece of readStridedPieces(x, sizes, strides, start, room)) {
          expect([room.buffer, x.buffer]).toContain(piece.buffer);
          if (piece.buffer === room.buffer) expect([piece.byteOffset, piece.byteLength <= room.byteLength]).toEqual([8, true]);
          joined.push(...bytesOf(piece));
        }
        expectSame(new Uint8Array(joined), bytesOf(readStrided(x, sizes, strides, start)));
      }),
      { numRuns: 500 },
    );
    const x = data('float16', 68 * 132);
    const pieces = [...readStridedPieces(x, [132, 68], [1, 132], 0, new Uint8Array(2 * 68 * 70))];
    expect(pieces.map(({ length }) => length / 68)).toEqual([64, 64, 4]);
  });

  it('transposes a 16-bit matrix at an odd address', () => {
    const whole = data('float16', 1 + 34 * 36);
    const part = whole.subarray(1);
    expect(bytesOf(readStrided(part, [36, 34], [1, 36]))).toEqual(plain(part, [36, 34], [1, 36], 0));
  });

  it('copies nothing if the elements are contiguous', () => {
    const x = data('float16', 5 * 7 * 3);
    const rows = readStrided(x, [2, 7, 3], [21, 3, 1], 42);
    expect(rows.buffer).toBe(x.buffer);
    expect([rows.byteOffset, rows.length]).toEqual([84, 42]);
    expect(readStrided(x, [2, 7, 2], [21, 3, 1]).buffer).not.toBe(x.buffer);
    expect(readStrided(x, [0, 7], [3, 1]).length).toBe(0);
    expect(readStrided(x, [], [], 4)).toEqual(x.subarray(4, 5));
  });
});
