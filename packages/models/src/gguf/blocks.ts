// The formats of tensors in GGUF files: their bytes as floats, or as codes in blocks of 32.
import { castTensor, type Tensor } from '@onnxformers/core';

/** One format: a block of elements in a row of bytes. */
export interface GgufFormat {
  readonly name: string;
  /** Elements of a block, and its bytes. */
  readonly elements: number;
  readonly bytes: number;
  /** Writes the floats of one block. Absent: the elements are floats already. */
  readonly decode?: (block: Uint8Array, half: (offset: number) => number, into: Float32Array, at: number) => void;
  /** Of formats that MatMulNBits reads: bits of a code, and the codes of one block. */
  readonly codes?: { readonly bits: 4 | 8; readonly write: (block: Uint8Array, into: Uint8Array, at: number) => void };
}

/** Formats by their number in the file. */
export const ggufFormats: Readonly<Record<number, GgufFormat>> = {
  0: { name: 'F32', elements: 1, bytes: 4 },
  1: { name: 'F16', elements: 1, bytes: 2 },
  // d · (code − 8); elements 0 to 15 are the low halves of the bytes, 16 to 31 the high ones.
  2: {
    name: 'Q4_0',
    elements: 32,
    bytes: 18,
    decode(block, half, into, at) {
      const d = half(0);
      for (let i = 0; i < 16; i++) {
        into[at + i] = d * ((block[2 + i]! & 15) - 8);
        into[at + 16 + i] = d * ((block[2 + i]! >> 4) - 8);
      }
    },
    codes: {
      bits: 4,
      write(block, into, at) {
        const code = (i: number): number => (i < 16 ? block[2 + i]! & 15 : block[2 + i - 16]! >> 4);
        for (let i = 0; i < 16; i++) into[at + i] = code(2 * i) | (code(2 * i + 1) << 4);
      },
    },
  },
  // d · code, signed.
  8: {
    name: 'Q8_0',
    elements: 32,
    bytes: 34,
    decode(block, half, into, at) {
      const d = half(0);
      for (let i = 0; i < 32; i++) into[at + i] = d * signed(block[2 + i]!);
    },
    codes: {
      bits: 8,
      write(block, into, at) {
        for (let i = 0; i < 32; i++) into[at + i] = block[2 + i]! ^ 128; // counted from 128
      },
    },
  },
  // Eight parts of 32: d · scale · code − dmin · least, scales and least values in 6 bits.
  12: {
    name: 'Q4_K',
    elements: 256,
    bytes: 144,
    decode(block, half, into, at) {
      const [d, dmin] = [half(0), half(2)];
      for (let part = 0; part < 8; part++) {
        const [scale, least] = scaleAndLeast(block, part);
        const from = 16 + 32 * (part >> 1);
        for (let i = 0; i < 32; i++) {
          const code = part % 2 ? block[from + i]! >> 4 : block[from + i]! & 15;
          into[at + 32 * part + i] = d * scale * code - dmin * least;
        }
      }
    },
  },
  // Sixteen parts of 16: d · scale · (code − 32), codes of 4 low and 2 high bits.
  14: {
    name: 'Q6_K',
    elements: 256,
    bytes: 210,
    decode(block, half, into, at) {
      const d = half(208);
      for (let i = 0; i < 256; i++) {
        const [whole, quarter, l] = [i >> 7, (i >> 5) & 3, i & 31];
        const low = block[64 * whole + 32 * (quarter & 1) + l]!;
        const high = (block[128 + 32 * whole + l]! >> (2 * quarter)) & 3;
        const code = (quarter < 2 ? low & 15 : low >> 4) | (high << 4);
        into[at + i] = d * signed(block[192 + (i >> 4)]!) * (code - 32);
      }
    },
  },
  30: { name: 'BF16', elements: 1, bytes: 2 },
};

const signed = (byte: number): number => (byte << 24) >> 24;

function scaleAndLeast(block: Uint8Array, part: number): readonly [scale: number, least: number] {
  const at = (i: number): number => block[4 + i]!;
  if (part < 4) return [at(part) & 63, at(part + 4) & 63];
  return [(at(part + 4) & 15) | ((at(part - 4) >> 6) << 4), (at(part + 4) >> 4) | ((at(part) >> 6) << 4)];
}

/** All float16 numbers. */
let halves: ArrayLike<number> | undefined;

/** Reads float16 numbers at places in bytes. */
function halvesIn(bytes: Uint8Array): (offset: number) => number {
  halves ??= castTensor(
    { dtype: 'float16', dims: [1 << 16], data: Uint16Array.from({ length: 1 << 16 }, (_, i) => i) },
    'float32',
  ).data as Float32Array;
  const table = halves;
  return (offset) => table[bytes[offset]! | (bytes[offset + 1]! << 8)]!;
}

/** The floats of a tensor of blocks. */
export function decoded({ elements, bytes, decode }: GgufFormat, data: Uint8Array, dims: readonly number[]): Tensor {
  const blocks = data.length / bytes;
  const floats = new Float32Array(blocks * elements);
  const half = halvesIn(data);
  for (let b = 0; b < blocks; b++) {
    const from = b * bytes;
    decode!(data.subarray(from, from + bytes), (offset) => half(from + offset), floats, b * elements);
  }
  return { dtype: 'float32', dims, data: floats };
}

/** The parameters of `quantizedBlocks` with blocks of 32, from a tensor of blocks: the numbers stay the same. */
export function repacked(
  { bytes, codes }: GgufFormat,
  data: Uint8Array,
  [rows, columns]: readonly [number, number],
): Readonly<Record<'weight_codes' | 'weight_scales', Tensor>> {
  const { bits, write } = codes!;
  const blocks = data.length / bytes;
  const width = 4 * bits;
  const [packed, scales] = [new Uint8Array(blocks * width), new Uint16Array(blocks)];
  for (let b = 0; b < blocks; b++) {
    const from = b * bytes;
    scales[b] = data[from]! | (data[from + 1]! << 8);
    write(data.subarray(from, from + bytes), packed, b * width);
  }
  return {
    weight_codes: { dtype: 'uint8', dims: [rows, columns / 32, width], data: packed },
    weight_scales: { dtype: 'float16', dims: [rows, columns / 32], data: scales },
  };
}
