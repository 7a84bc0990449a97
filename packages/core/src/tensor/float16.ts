// The two 16-bit floats, as bit patterns: float16 (5 exponent, 10 fraction bits) and bfloat16 (8 and 7). Rounding is to nearest, ties to even.

const float = new Float32Array(1);
const word = new Uint32Array(float.buffer);

/**
 * The bits of `x` as float32, rounded to odd: if it is inexact, the neighbour whose last bit is 1. With at least two extra bits, rounding
 * that to nearest is the same as rounding `x` itself, so a float64 is rounded only once.
 */
function oddFloat32Bits(x: number): number {
  float[0] = x;
  const rounded = float[0]!;
  const bits = word[0]!;
  if (rounded === x || Number.isNaN(x)) return bits;
  return (Math.abs(rounded) > Math.abs(x) ? bits - 1 : bits) | 1;
}

function float16OfFloat32Bits(bits: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return 0x7e00;
  if (magnitude >= 0x47800000) return sign | 0x7c00;
  if (magnitude >= 0x38800000) return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
  if (magnitude <= 0x33000000) return sign;
  const shift = 126 - (magnitude >>> 23);
  const fraction = (magnitude & 0x7fffff) | 0x800000;
  const kept = fraction >>> shift;
  const rest = fraction & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  return sign | (kept + (rest > half || (rest === half && (kept & 1) === 1) ? 1 : 0));
}

function bfloat16OfFloat32Bits(bits: number): number {
  if ((bits & 0x7fffffff) > 0x7f800000) return 0x7fc0;
  return ((bits >>> 16) + ((bits & 0xffff) + ((bits >>> 16) & 1) > 0x8000 ? 1 : 0)) & 0xffff;
}

/** The float16 nearest to a number, as 16 bits. Ties are rounded to even, every NaN becomes 0x7e00, numbers that are too large become infinite. */
export const toFloat16Bits = (x: number): number => float16OfFloat32Bits(oddFloat32Bits(x));

/** The bfloat16 nearest to a number, as 16 bits. Ties are rounded to even, every NaN becomes 0x7fc0, numbers that are too large become infinite. */
export const toBfloat16Bits = (x: number): number => bfloat16OfFloat32Bits(oddFloat32Bits(x));

/** The number that 16 bits of float16 represent. */
export function fromFloat16Bits(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >>> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return (sign * fraction) / 0x1000000;
  if (exponent === 0x1f) return fraction ? NaN : sign * Infinity;
  word[0] = ((exponent + 112) << 23) | (fraction << 13);
  return sign * float[0]!;
}

/** The number that 16 bits of bfloat16 represent. */
export function fromBfloat16Bits(bits: number): number {
  word[0] = bits << 16;
  return float[0]!;
}

/* @__NO_SIDE_EFFECTS__ */
function encoder(ofFloat32Bits: (bits: number) => number) {
  return (values: Float32Array | Float64Array): Uint16Array => {
    const out = new Uint16Array(values.length);
    if (values instanceof Float32Array) {
      const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
      for (let i = 0; i < out.length; i++) out[i] = ofFloat32Bits(words[i]!);
    } else for (let i = 0; i < out.length; i++) out[i] = ofFloat32Bits(oddFloat32Bits(values[i]!));
    return out;
  };
}

/** Numbers as float16 bit patterns; rounding as {@link toFloat16Bits}. */
export const encodeFloat16: (values: Float32Array | Float64Array) => Uint16Array = encoder(float16OfFloat32Bits);
/** Numbers as bfloat16 bit patterns; rounding as {@link toBfloat16Bits}. */
export const encodeBfloat16: (values: Float32Array | Float64Array) => Uint16Array = encoder(bfloat16OfFloat32Bits);

let table: Float32Array | undefined;

/** The numbers that float16 bit patterns represent. Exact. */
export function decodeFloat16(bits: Uint16Array): Float32Array {
  table ??= Float32Array.from({ length: 0x10000 }, (_, i) => fromFloat16Bits(i));
  const out = new Float32Array(bits.length);
  for (let i = 0; i < out.length; i++) out[i] = table[bits[i]!]!;
  return out;
}

/** The numbers that bfloat16 bit patterns represent. Exact. */
export function decodeBfloat16(bits: Uint16Array): Float32Array {
  const words = new Uint32Array(bits.length);
  for (let i = 0; i < words.length; i++) words[i] = bits[i]! << 16;
  return new Float32Array(words.buffer);
}
