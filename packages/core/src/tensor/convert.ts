// Tensors to and from numbers, bytes and each other.

import { describe, ShapeError } from '../error';
import { aDtype, aList, aTensor, given, someBytes, someNumbers } from '../given';
import { decodeBfloat16, decodeFloat16, encodeBfloat16, encodeFloat16 } from './float16';
import { arrayOf, bitsOf, bytesOf, countOf, type DType, isFloat, type NDArray, type Tensor, type TensorData } from './tensor';

const isSigned = (dtype: DType): boolean => dtype.startsWith('int');
const isPacked = (dtype: DType): boolean => bitsOf(dtype) === 4;
const isInteger64 = (dtype: DType): dtype is 'int64' | 'uint64' => dtype === 'int64' || dtype === 'uint64';

function rangeOf(dtype: DType): readonly [low: number, high: number] {
  const span = 2 ** bitsOf(dtype);
  return isSigned(dtype) ? [-span / 2, span / 2 - 1] : [0, span - 1];
}

/**
 * A number converted to another dtype, as by ONNX `Cast`: a float is truncated towards zero and saturated (NaN becomes 0), an integer that
 * is too wide loses its high bits, any number except 0 becomes true. Floats are not rounded.
 */
export function castNumber(x: number, from: DType, to: DType): number {
  if (isFloat(to)) return x;
  if (to === 'bool') return x === 0 ? 0 : 1;
  const [low, high] = rangeOf(to);
  if (x >= low && x <= high) return Math.trunc(x) + 0;
  if (isFloat(from)) return Number.isNaN(x) ? 0 : x < low ? low : high;
  const span = 2 ** bitsOf(to);
  return x - Math.floor((x - low) / span) * span;
}

// In float64 the greatest 64-bit integers are one too many; storing an integer from an integer dtype drops its high bits.
function toBig(x: number, from: DType, to: 'int64' | 'uint64'): bigint {
  if (!isFloat(from)) return BigInt(x);
  const [, high] = rangeOf(to);
  return x >= high ? BigInt(high) - 1n : BigInt(castNumber(x, from, to));
}

function unpack(bytes: Uint8Array, count: number, signed: boolean): Float64Array {
  const out = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    const half = (bytes[i >> 1]! >> ((i & 1) * 4)) & 15;
    out[i] = signed && half > 7 ? half - 16 : half;
  }
  return out;
}

function pack(values: Float64Array): Uint8Array {
  const out = new Uint8Array(Math.ceil(values.length / 2));
  for (let i = 0; i < values.length; i++) out[i >> 1]! |= (values[i]! & 15) << ((i & 1) * 4);
  return out;
}

function fromNumbers(data: Float64Array, from: DType, to: DType): TensorData {
  if (to === 'float64') return data;
  if (to === 'float32') return new Float32Array(data);
  if (to === 'float16') return encodeFloat16(data);
  if (to === 'bfloat16') return encodeBfloat16(data);
  if (isInteger64(to)) {
    const out = new (to === 'int64' ? BigInt64Array : BigUint64Array)(data.length);
    for (let i = 0; i < out.length; i++) out[i] = toBig(data[i]!, from, to);
    return out;
  }
  const values = data.map((x) => castNumber(x, from, to));
  return isPacked(to) ? pack(values) : new (arrayOf(to) as Int32ArrayConstructor)(values);
}

/** The float64 next to a bigint, rounded to odd, so that rounding it again to a shorter float is exact. */
function oddNumber(x: bigint): number {
  if (BigInt.asIntN(54, x) === x) return Number(x);
  return Number((x >> 11n) | (x & 2047n ? 1n : 0n)) * 2048;
}

function fromIntegers64(data: BigInt64Array | BigUint64Array, to: DType): TensorData {
  if (to === 'int64') return new BigInt64Array(data.buffer, data.byteOffset, data.length);
  if (to === 'uint64') return new BigUint64Array(data.buffer, data.byteOffset, data.length);
  const number =
    to === 'bool' || to === 'float64' ? Number : isFloat(to) ? oddNumber : (x: bigint) => Number(BigInt.asIntN(32, x));
  return fromNumbers(Float64Array.from(data as BigInt64Array, number), 'int64', to);
}

/** The elements of a tensor as float64. Exact, except 64-bit integers beyond 2^53, which are rounded. float64 is not copied. */
export function toArray(tensor: Tensor): NDArray {
  given('toArray', { tensor }, { tensor: aTensor });
  const { dtype, dims, data } = tensor;
  if (data instanceof Float64Array) return { dtype, dims, data };
  if (isPacked(dtype)) return { dtype, dims, data: unpack(data as Uint8Array, countOf(dims), isSigned(dtype)) };
  if (isInteger64(dtype)) return { dtype, dims, data: Float64Array.from(data as BigInt64Array, Number) };
  if (dtype === 'float16') return { dtype, dims, data: new Float64Array(decodeFloat16(data as Uint16Array)) };
  if (dtype === 'bfloat16') return { dtype, dims, data: new Float64Array(decodeBfloat16(data as Uint16Array)) };
  return { dtype, dims, data: new Float64Array(data as Float32Array) };
}

/** An array as a tensor of its dtype: floats are rounded to nearest even, integers truncated and saturated. float64 is not copied. */
export const toTensor = (tensor: NDArray): Tensor => {
  given('toTensor', { tensor }, { tensor: aTensor });
  const { dtype, dims, data } = tensor;
  return { dtype, dims, data: fromNumbers(data, 'float64', dtype) };
};

/**
 * A tensor converted to another dtype, as by ONNX `Cast` (see {@link castNumber}); floats are rounded once, to nearest even. For the same dtype the
 * same tensor is returned; int64 and uint64 share their memory.
 */
export function castTensor(t: Tensor, to: DType): Tensor {
  given('castTensor', { tensor: t, dtype: to }, { tensor: aTensor, dtype: aDtype });
  const { dtype: from, dims, data } = t;
  if (from === to) return t;
  const as = (converted: TensorData): Tensor => ({ dtype: to, dims, data: converted });
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) return as(fromIntegers64(data, to));
  if (from === 'float32' && to === 'float16') return as(encodeFloat16(data as Float32Array));
  if (from === 'float32' && to === 'bfloat16') return as(encodeBfloat16(data as Float32Array));
  if (from === 'float16' && to === 'float32') return as(decodeFloat16(data as Uint16Array));
  if (from === 'bfloat16' && to === 'float32') return as(decodeBfloat16(data as Uint16Array));
  return as(fromNumbers(toArray(t).data, from, to));
}

/**
 * A tensor of the given numbers, row-major; numbers that the dtype cannot represent are rounded or saturated as by {@link toTensor}.
 *
 * @throws ShapeError when the number of values is not that of dims
 */
export function tensor(dtype: DType, dims: readonly number[], values: ArrayLike<number | bigint>): Tensor {
  given('tensor', { dtype, dims, values }, { dtype: aDtype, dims: aList, values: someNumbers });
  const count = countOf(dims);
  if (values.length !== count) {
    throw new ShapeError({
      path: `tensor ${dtype}[${dims.join(', ')}]`,
      problem: 'the number of values does not fit the dims',
      expected: `${count} values`,
      got: `${values.length}`,
    });
  }
  if (isInteger64(dtype)) {
    const big = (x: number | bigint) => (typeof x === 'bigint' ? x : toBig(x, 'float64', dtype));
    const bigs = Array.from(values, big);
    return { dtype, dims, data: dtype === 'int64' ? BigInt64Array.from(bigs) : BigUint64Array.from(bigs) };
  }
  if (isStored(values, dtype)) return { dtype, dims, data: values.slice() };
  return { dtype, dims, data: fromNumbers(Float64Array.from(values as ArrayLike<number>, Number), 'float64', dtype) };
}

/** Whether these numbers are in the array in which a tensor of the dtype stores them as they are. */
const isStored = (
  values: ArrayLike<number | bigint>,
  dtype: DType,
): values is Exclude<TensorData, BigInt64Array | BigUint64Array> =>
  dtype !== 'bool' && dtype !== 'float16' && dtype !== 'bfloat16' && !isPacked(dtype) && values instanceof arrayOf(dtype);

/** The bytes of a tensor, little-endian: a view, not a copy. */
export const bytesOfTensor = (tensor: Tensor): Uint8Array => {
  given('bytesOfTensor', { tensor }, { tensor: aTensor });
  const { data } = tensor;
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
};

/**
 * A tensor over little-endian bytes: a view if the address is aligned for the dtype, otherwise a copy.
 *
 * @throws ShapeError when the number of bytes is not that of dims
 */
export function tensorFromBytes(dtype: DType, dims: readonly number[], bytes: Uint8Array): Tensor {
  given('tensorFromBytes', { dtype, dims, bytes }, { dtype: aDtype, dims: aList, bytes: someBytes });
  const expected = bytesOf(dtype, countOf(dims));
  if (bytes.byteLength !== expected) {
    throw new ShapeError({
      path: `tensor ${dtype}[${dims.join(', ')}]`,
      problem: 'the number of bytes does not fit the dims',
      expected: `${expected} bytes`,
      got: describe(bytes),
    });
  }
  const ArrayType = arrayOf(dtype) as Uint8ArrayConstructor;
  const width = ArrayType.BYTES_PER_ELEMENT;
  const aligned = bytes.byteOffset % width === 0 ? bytes : new Uint8Array(bytes);
  return { dtype, dims, data: new ArrayType(aligned.buffer, aligned.byteOffset, aligned.byteLength / width) };
}
