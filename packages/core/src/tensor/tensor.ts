// Tensors of the API and of files (elements of a dtype), and arrays of the interpreter (float64).

/** Element types, by the names used in configs, errors and files of ours. */
export const dtypes = [
  'float64',
  'float32',
  'float16',
  'bfloat16',
  'int64',
  'int32',
  'int16',
  'int8',
  'uint64',
  'uint32',
  'uint16',
  'uint8',
  'bool',
  'int4',
  'uint4',
] as const;
/** An element type. */
export type DType = (typeof dtypes)[number];

/** The storage of the elements: 16-bit floats as their bit patterns, bool as one byte, 4-bit integers two to a byte (low half first). */
export type TensorData =
  | Float64Array
  | Float32Array
  | Uint16Array
  | BigInt64Array
  | Int32Array
  | Int16Array
  | Int8Array
  | BigUint64Array
  | Uint32Array
  | Uint8Array;

/** Elements of one dtype in row-major order. */
export interface Tensor {
  readonly dtype: DType;
  readonly dims: readonly number[];
  readonly data: TensorData;
}

/** The interpreter's tensor: every element is a float64 number, for any dtype (integers are exact to 2^53, bool is 0 or 1). */
export interface NDArray {
  readonly dtype: DType;
  readonly dims: readonly number[];
  readonly data: Float64Array;
}

const floats: ReadonlySet<DType> = new Set(['float64', 'float32', 'float16', 'bfloat16']);
/** True for float64, float32, float16 and bfloat16. */
export const isFloat = (dtype: DType): boolean => floats.has(dtype);

const bits: Readonly<Record<DType, number>> = {
  float64: 64,
  float32: 32,
  float16: 16,
  bfloat16: 16,
  int64: 64,
  int32: 32,
  int16: 16,
  int8: 8,
  uint64: 64,
  uint32: 32,
  uint16: 16,
  uint8: 8,
  bool: 8,
  int4: 4,
  uint4: 4,
};
/** Bits of one element in memory. */
export const bitsOf = (dtype: DType): number => bits[dtype];
/** Bytes of `count` elements. */
export const bytesOf = (dtype: DType, count: number): number => Math.ceil((bits[dtype] * count) / 8);
/** The number of elements of dims. */
export const countOf = (dims: readonly number[]): number => (dims.includes(0) ? 0 : dims.reduce((n, d) => n * d, 1));

const arrays = {
  float64: Float64Array,
  float32: Float32Array,
  float16: Uint16Array,
  bfloat16: Uint16Array,
  int64: BigInt64Array,
  int32: Int32Array,
  int16: Int16Array,
  int8: Int8Array,
  uint64: BigUint64Array,
  uint32: Uint32Array,
  uint16: Uint16Array,
  uint8: Uint8Array,
  bool: Uint8Array,
  int4: Uint8Array,
  uint4: Uint8Array,
} as const;
/** The type of typed array for a dtype. */
export const arrayOf = (dtype: DType): (typeof arrays)[DType] => arrays[dtype];
