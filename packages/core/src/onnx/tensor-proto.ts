// TensorProto: tensors in attributes, in initializers and in separate files (.pb).

import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { checkArguments } from '../arguments';
import { describe, FileError } from '../error';
import { bytesOfTensor, tensorFromBytes } from '../tensor/convert';
import { arrayOf, bitsOf, bytesOf, countOf, type DType, type Tensor } from '../tensor/tensor';
import { dtypeOfElementType, elementTypeName, elementTypeOf } from './element-type';
import { type TensorProto, TensorProto_DataLocation, TensorProtoSchema } from './gen/onnx_pb';

/** File and name of a tensor, for errors: `model.onnx, initializer "w"`. */
type Where = string;

/** Reads a message of the schema; errors of the parser become a FileError. */
export function parsing<T>(path: string, what: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw new FileError(
      {
        path,
        problem: `not ${what}`,
        got: cause instanceof Error ? cause.message : describe(cause),
        hint: 'The file may be truncated, or of another format.',
      },
      { cause },
    );
  }
}

/** A size or an offset in a file: an integer from 0 to 2^53. */
export function sizeOf(n: bigint, path: string, what: string): number {
  if (n < 0n || n > BigInt(Number.MAX_SAFE_INTEGER))
    throw new FileError({ path, problem: `${what} is out of range`, expected: '0 to 2^53', got: `${n}` });
  return Number(n);
}

/** Name, dims and element type of a tensor: a TensorProto without its elements. */
export const tensorHeader = (
  name: string,
  { dtype, dims }: Pick<Tensor, 'dtype' | 'dims'>,
): { name?: string; dims: bigint[]; dataType: number } => ({
  ...(name && { name }),
  dims: dims.map(BigInt),
  dataType: elementTypeOf(dtype),
});

export const toTensorProto = (tensor: Tensor, name = ''): TensorProto =>
  create(TensorProtoSchema, { ...tensorHeader(name, tensor), rawData: bytesOfTensor(tensor) });

/** dtype, dims and number of elements of a TensorProto, checked; 2^53 bytes and more are refused. */
export function tensorTypeOf(proto: TensorProto, path: Where): { dtype: DType; dims: number[]; count: number } {
  const dtype = dtypeOfElementType(proto.dataType);
  if (!dtype) {
    const got = elementTypeName(proto.dataType);
    throw new FileError({
      path,
      problem: 'unsupported element type',
      expected: 'a float of 16 to 64 bits, an integer or bool',
      got,
    });
  }
  const dims = proto.dims.map((d) => sizeOf(d, path, 'a dim'));
  const count = dims.includes(0) ? 0 : countOf(dims);
  if (count > Number.MAX_SAFE_INTEGER / 8)
    throw new FileError({ path, problem: 'too many elements', got: `dims ${describe(dims)}` });
  return { dtype, dims, count };
}

// The field of the elements if they are not raw bytes. 16-bit floats are stored as bit patterns, 4-bit integers as their bytes.
function typedField(proto: TensorProto, dtype: DType): readonly (number | bigint)[] {
  if (dtype === 'float32') return proto.floatData;
  if (dtype === 'float64') return proto.doubleData;
  if (dtype === 'int64') return proto.int64Data;
  return dtype === 'uint64' || dtype === 'uint32' ? proto.uint64Data : proto.int32Data;
}

function tensorOfField(proto: TensorProto, dtype: DType, dims: readonly number[], count: number, path: Where): Tensor {
  const field = typedField(proto, dtype);
  const expected = bitsOf(dtype) === 4 ? bytesOf(dtype, count) : count;
  if (field.length !== expected) {
    throw new FileError({
      path,
      problem: `the elements do not match ${dtype}[${dims.join(', ')}]`,
      expected: `${expected}`,
      got: `${field.length}`,
    });
  }
  if (dtype === 'int64') return { dtype, dims, data: BigInt64Array.from(field as readonly bigint[]) };
  if (dtype === 'uint64') return { dtype, dims, data: BigUint64Array.from(field as readonly bigint[]) };
  const numbers = Array.from(field, dtype === 'bool' ? (x) => +(x !== 0) : Number);
  return { dtype, dims, data: (arrayOf(dtype) as Float64ArrayConstructor).from(numbers) as Tensor['data'] };
}

/** The tensor of a TensorProto; a view of its raw bytes if their address is aligned for the dtype. */
export function fromTensorProto(proto: TensorProto, path: Where): Tensor {
  const { dtype, dims, count } = tensorTypeOf(proto, path);
  if (proto.dataLocation === TensorProto_DataLocation.EXTERNAL) {
    throw new FileError({ path, problem: 'its elements are in another file', expected: 'elements in this file' });
  }
  const { rawData } = proto;
  const expected = bytesOf(dtype, count);
  if (rawData.byteLength === 0 && expected > 0) return tensorOfField(proto, dtype, dims, count, path);
  if (rawData.byteLength !== expected) {
    const got = `${rawData.byteLength}`;
    throw new FileError({
      path,
      problem: `the raw bytes do not match ${dtype}[${dims.join(', ')}]`,
      expected: `${expected} bytes`,
      got,
    });
  }
  return tensorFromBytes(dtype, dims, rawData);
}

/**
 * Reads a tensor from a file, such as those of ONNX's test data (`input_0.pb`).
 *
 * @param path names the file in errors
 * @throws FileError when the bytes are not a TensorProto, do not match its dims, or have an unsupported element type
 */
export function readTensor(bytes: Uint8Array, path = 'tensor'): Tensor & { readonly name: string } {
  const proto = parsing(path, 'an ONNX tensor', () => fromBinary(TensorProtoSchema, bytes));
  return { ...fromTensorProto(proto, path), name: proto.name };
}

/** Writes a tensor as a file, see {@link readTensor}. */
export const writeTensor = (tensor: Tensor, name = ''): Uint8Array => {
  checkArguments('writeTensor', { tensor });
  return toBinary(TensorProtoSchema, toTensorProto(tensor, name));
};
