import { Float16Array, f16round } from '@petamoriken/float16';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  decodeBfloat16,
  decodeFloat16,
  encodeBfloat16,
  encodeFloat16,
  fromBfloat16Bits,
  fromFloat16Bits,
  toBfloat16Bits,
  toFloat16Bits,
} from './float16';

const patterns = Uint16Array.from({ length: 0x10000 }, (_, i) => i);

/** Rounding to nearest even by neighbours: an independent definition, exact in float64 for every magnitude here. */
function nearestByDefinition(x: number, from: (bits: number) => number, infinity: number): number {
  if (Number.isNaN(x)) return NaN;
  const magnitude = Math.abs(x);
  let low = 0;
  let high = infinity;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (from(middle) <= magnitude) low = middle;
    else high = middle;
  }
  // Overflow is judged as if one more binade followed the largest finite number.
  const top = high === infinity ? 2 * from(low) - from(low - 1) : from(high);
  const below = magnitude - from(low);
  const above = top - magnitude;
  const nearest = magnitude === Infinity || below > above || (below === above && low % 2 === 1) ? high : low;
  return Math.sign(x) * from(nearest);
}

describe('float16', () => {
  it('decodes all 65,536 patterns as the reference library does', () => {
    const reference = new Float16Array(patterns.buffer.slice(0));
    const ours = decodeFloat16(patterns);
    for (const i of patterns) {
      expect(Object.is(ours[i], reference[i])).toBe(true);
      expect(Object.is(fromFloat16Bits(i), reference[i])).toBe(true);
    }
  });

  it('encodes what it decodes, for all patterns but the NaNs, which become one', () => {
    const values = decodeFloat16(patterns);
    const [from32, from64] = [encodeFloat16(values), encodeFloat16(Float64Array.from(values))];
    for (const i of patterns) {
      const expected = Number.isNaN(values[i]) ? 0x7e00 : i;
      expect([from32[i], from64[i], toFloat16Bits(values[i]!)]).toEqual([expected, expected, expected]);
    }
  });

  it('rounds halves, and their neighbours in float64, once', () => {
    for (let i = 0; i < 0x7c00; i++) {
      const low = fromFloat16Bits(i);
      const half = i === 0x7bff ? 65520 : (low + fromFloat16Bits(i + 1)) / 2;
      const step = half * 2 ** -52;
      const even = i % 2 === 0 ? i : i + 1;
      expect([toFloat16Bits(half - step), toFloat16Bits(half), toFloat16Bits(half + step)]).toEqual([i, even, i + 1]);
      expect(toFloat16Bits(-half - step)).toBe(0x8000 | (i + 1));
    }
  });

  it('rounds any float64 as the reference library does', () => {
    fc.assert(
      fc.property(fc.double({ min: -70000, max: 70000 }), (x) => Object.is(fromFloat16Bits(toFloat16Bits(x)), f16round(x))),
      { numRuns: 20_000 },
    );
    fc.assert(
      fc.property(fc.double({ min: -2e-4, max: 2e-4 }), (x) => Object.is(fromFloat16Bits(toFloat16Bits(x)), f16round(x))),
      { numRuns: 20_000 },
    );
  });

  it('encodes any float32 bit pattern from its words as from its value', () => {
    fc.assert(
      fc.property(fc.uint32Array({ minLength: 1, maxLength: 64 }), (words) => {
        const values = new Float32Array(words.buffer.slice(0));
        expect([...encodeFloat16(values)]).toEqual([...values].map(toFloat16Bits));
        expect([...encodeBfloat16(values)]).toEqual([...values].map(toBfloat16Bits));
      }),
    );
  });

  it('respects the offset of a view', () => {
    const values = Float32Array.of(9, 9, 1.5, -2);
    expect([...encodeFloat16(values.subarray(2))]).toEqual([0x3e00, 0xc000]);
  });
});

describe('bfloat16', () => {
  it('is the upper half of float32, for all patterns', () => {
    const ours = decodeBfloat16(patterns);
    const view = new DataView(new ArrayBuffer(4));
    for (const i of patterns) {
      view.setUint32(0, i * 0x10000);
      expect(Object.is(ours[i], view.getFloat32(0))).toBe(true);
      expect(Object.is(fromBfloat16Bits(i), view.getFloat32(0))).toBe(true);
    }
  });

  it('encodes what it decodes, for all patterns but the NaNs, which become one', () => {
    const values = decodeBfloat16(patterns);
    const [from32, from64] = [encodeBfloat16(values), encodeBfloat16(Float64Array.from(values))];
    for (const i of patterns) {
      const expected = Number.isNaN(values[i]) ? 0x7fc0 : i;
      expect([from32[i], from64[i], toBfloat16Bits(values[i]!)]).toEqual([expected, expected, expected]);
    }
  });

  it('rounds any float64 once: to nearest, ties to even', () => {
    const check = (x: number): void => {
      expect(fromBfloat16Bits(toBfloat16Bits(x)) + 0).toBe(nearestByDefinition(x, fromBfloat16Bits, 0x7f80) + 0);
    };
    const overflow = 2 ** 128 - 2 ** 119;
    fc.assert(fc.property(fc.double({ noNaN: true, min: -3.5e38, max: 3.5e38 }), check), { numRuns: 20_000 });
    fc.assert(fc.property(fc.double({ noNaN: true, min: -1e-36, max: 1e-36 }), check), { numRuns: 20_000 });
    for (const x of [Infinity, -Infinity, 1e300, 5e-324, overflow, overflow - 2 ** 75]) check(x);
  });

  it('rounds halves, and their neighbours in float64, once', () => {
    for (let i = 0; i < 0x7f7f; i++) {
      const half = (fromBfloat16Bits(i) + fromBfloat16Bits(i + 1)) / 2;
      const step = half * 2 ** -52;
      const even = i % 2 === 0 ? i : i + 1;
      expect([toBfloat16Bits(half - step), toBfloat16Bits(half), toBfloat16Bits(half + step)]).toEqual([i, even, i + 1]);
    }
  });
});

it('keeps the sign of zero', () => {
  expect([toFloat16Bits(-0), toBfloat16Bits(-0), toFloat16Bits(-1e-30), toBfloat16Bits(-1e-50)]).toEqual([
    0x8000, 0x8000, 0x8000, 0x8000,
  ]);
  expect(Object.is(fromFloat16Bits(0x8000), -0)).toBe(true);
});
