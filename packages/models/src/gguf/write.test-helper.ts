// Writes small GGUF files.
import { castTensor, tensor } from '@onnxformers/core';

/** A value of the metadata. */
export type GgufValue = string | number | { readonly float: number } | readonly string[];

/** A tensor: its dims as [rows, columns], its format and bytes. */
export interface GgufTensor {
  readonly dims: readonly number[];
  readonly format: number;
  readonly bytes: Uint8Array;
}

/** A file of version 3. */
export function writeGguf(
  metadata: Readonly<Record<string, GgufValue>>,
  tensors: Readonly<Record<string, GgufTensor>>,
): Uint8Array {
  const pieces: Uint8Array[] = [];
  const put = (size: number, set: (view: DataView) => void): void => {
    const bytes = new Uint8Array(size);
    set(new DataView(bytes.buffer));
    pieces.push(bytes);
  };
  const u32 = (n: number): void => put(4, (v) => v.setUint32(0, n, true));
  const u64 = (n: number): void => put(8, (v) => v.setBigUint64(0, BigInt(n), true));
  const text = (s: string): void => {
    const bytes = new TextEncoder().encode(s);
    u64(bytes.length);
    pieces.push(bytes);
  };
  pieces.push(new TextEncoder().encode('GGUF'));
  u32(3);
  u64(Object.keys(tensors).length);
  u64(Object.keys(metadata).length);
  for (const [key, value] of Object.entries(metadata)) {
    text(key);
    if (typeof value === 'string') {
      u32(8);
      text(value);
    } else if (typeof value === 'number') {
      u32(4);
      u32(value);
    } else if ('float' in value) {
      u32(6);
      put(4, (v) => v.setFloat32(0, value.float, true));
    } else {
      u32(9);
      u32(8);
      u64(value.length);
      value.forEach(text);
    }
  }
  const aligned = (n: number): number => Math.ceil(n / 32) * 32;
  let offset = 0;
  for (const [name, { dims, format, bytes }] of Object.entries(tensors)) {
    text(name);
    u32(dims.length);
    [...dims].reverse().forEach(u64);
    u32(format);
    u64(offset);
    offset += aligned(bytes.length);
  }
  const header = pieces.reduce((n, p) => n + p.length, 0);
  const file = new Uint8Array(aligned(header) + offset);
  let at = 0;
  for (const piece of pieces) {
    file.set(piece, at);
    at += piece.length;
  }
  at = aligned(header);
  for (const { bytes } of Object.values(tensors)) {
    file.set(bytes, at);
    at += aligned(bytes.length);
  }
  return file;
}

/** Floats as bytes of F32. */
export const f32 = (dims: readonly number[], data: ArrayLike<number>): GgufTensor => ({
  dims,
  format: 0,
  bytes: new Uint8Array(Float32Array.from(data).buffer),
});

/** Floats as bytes of F16. */
export const f16 = (dims: readonly number[], data: ArrayLike<number>): GgufTensor => ({
  dims,
  format: 1,
  bytes: new Uint8Array((castTensor(tensor('float32', [data.length], data), 'float16').data as Uint16Array).slice().buffer),
});

/** Floats as blocks of Q8_0 or Q4_0. */
export function quantized(dims: readonly number[], data: ArrayLike<number>, format: 'Q8_0' | 'Q4_0'): GgufTensor {
  const width = format === 'Q8_0' ? 34 : 18;
  const bytes = new Uint8Array((data.length / 32) * width);
  for (let b = 0; b < data.length / 32; b++) {
    const part = Array.from({ length: 32 }, (_, i) => data[32 * b + i]!);
    const furthest = part.reduce((a, x) => (Math.abs(x) > Math.abs(a) ? x : a), 0);
    const half = castTensor(tensor('float32', [1], [format === 'Q8_0' ? Math.abs(furthest) / 127 : furthest / -8]), 'float16');
    const scale = (castTensor(half, 'float32').data as Float32Array)[0]! || 1;
    const bits = (half.data as Uint16Array)[0]!;
    bytes.set([bits & 255, bits >> 8], b * width);
    part.forEach((x, i) => {
      if (format === 'Q8_0') bytes[b * width + 2 + i] = Math.round(x / scale) & 255;
      else {
        const code = Math.min(15, Math.max(0, Math.round(x / scale) + 8));
        bytes[b * width + 2 + (i % 16)]! |= code << (i < 16 ? 0 : 4);
      }
    });
  }
  return { dims, format: format === 'Q8_0' ? 8 : 2, bytes };
}
