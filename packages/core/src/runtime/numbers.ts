// The elements of feeds, read without copies if they are stored as plain numbers.
import { toArray } from '../tensor/convert';
import type { Tensor } from '../tensor/tensor';

/** The elements of a tensor; 64-bit integers beyond 2^53 are rounded. */
export function numbersOf(tensor: Tensor): ArrayLike<number> {
  const { dtype, data } = tensor;
  if (dtype === 'int64' || dtype === 'uint64') return ofWords(data as BigInt64Array, dtype === 'int64');
  if (dtype === 'float16' || dtype === 'bfloat16' || dtype === 'int4' || dtype === 'uint4') return toArray(tensor).data;
  return data as Int32Array;
}

/** Number of bigints above which the fast path is faster than reading them one by one. */
const fewNumbers = 8;

// Reading many elements as bigints would take longer than everything else. The lower word comes first (little-endian), as the runtime requires.
function ofWords(data: BigInt64Array, signed: boolean): ArrayLike<number> {
  const { buffer, byteOffset, length } = data;
  if (length <= fewNumbers) return Array.from(data, Number);
  const low = new Uint32Array(buffer, byteOffset, 2 * length);
  const high = signed ? new Int32Array(buffer, byteOffset, 2 * length) : low;
  const out = new Float64Array(length);
  for (let i = 0; i < length; i++) out[i] = high[2 * i + 1]! * 2 ** 32 + low[2 * i]!;
  return out;
}

/** Whether two arrays contain the same numbers. */
export function sameNumbers(a: ArrayLike<number>, b: ArrayLike<number>): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
