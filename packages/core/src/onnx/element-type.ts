// Element types: dtypes and the numbers of the format.
import type { DType } from '../tensor/tensor';
import { TensorProto_DataType } from './gen/onnx_pb';

const { FLOAT, DOUBLE, FLOAT16, BFLOAT16, INT64, INT32, INT16, INT8, UINT64, UINT32, UINT16, UINT8, BOOL, INT4, UINT4 } =
  TensorProto_DataType;

const numbers: Readonly<Record<DType, TensorProto_DataType>> = {
  float64: DOUBLE,
  float32: FLOAT,
  float16: FLOAT16,
  bfloat16: BFLOAT16,
  int64: INT64,
  int32: INT32,
  int16: INT16,
  int8: INT8,
  uint64: UINT64,
  uint32: UINT32,
  uint16: UINT16,
  uint8: UINT8,
  bool: BOOL,
  int4: INT4,
  uint4: UINT4,
};
const names = new Map(Object.entries(numbers).map(([dtype, n]) => [n, dtype as DType]));

/** The number of a dtype in the format. */
export const elementTypeOf = (dtype: DType): number => numbers[dtype];
/** The dtype of an element type; undefined for strings, complex numbers, 8-bit floats and others without a dtype in the library. */
export const dtypeOfElementType = (n: number): DType | undefined => names.get(n);
/** Name of an element type in texts: its dtype, otherwise the format's name in lower case, otherwise its number; "none" for the undefined one. */
export const elementTypeName = (n: number): string =>
  names.get(n) ?? (n === 0 ? 'none' : TensorProto_DataType[n]?.toLowerCase()) ?? `element type ${n}`;
