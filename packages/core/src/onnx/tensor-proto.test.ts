import { create, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FileError } from '../error';
import { tensor } from '../tensor/convert';
import { bytesOf, countOf, dtypes } from '../tensor/tensor';
import { TensorProto_DataLocation, TensorProto_DataType, TensorProtoSchema } from './gen/onnx_pb';
import { readTensor, writeTensor } from './tensor-proto';
import { anyTensor } from './testing/models';

const bytesOfProto = (fields: object): Uint8Array => toBinary(TensorProtoSchema, create(TensorProtoSchema, fields));

describe('tensors in files of their own', () => {
  it('are the same after a round trip, for any dtype', () => {
    const seen = new Set<string>();
    fc.assert(
      fc.property(anyTensor, fc.string(), (t, name) => {
        seen.add(t.dtype);
        expect(readTensor(writeTensor(t, name))).toEqual({ ...t, name });
      }),
      { numRuns: 500 },
    );
    expect([...seen].sort()).toEqual([...dtypes].sort());
  });

  it('are read from the fields of their element type too', () => {
    const { FLOAT, DOUBLE, INT64, INT32, INT16, INT8, UINT64, UINT32, UINT16, UINT8, BOOL, FLOAT16, BFLOAT16, INT4, UINT4 } =
      TensorProto_DataType;
    const dims = [3n];
    const read = (dataType: number, fields: object) => readTensor(bytesOfProto({ dims, dataType, ...fields }));
    expect(read(FLOAT, { floatData: [1.5, -2, Number.NaN] })).toMatchObject(tensor('float32', [3], [1.5, -2, Number.NaN]));
    expect(read(DOUBLE, { doubleData: [0.1, -0.2, 3e300] })).toMatchObject(tensor('float64', [3], [0.1, -0.2, 3e300]));
    expect(read(INT64, { int64Data: [1n, -2n, 2n ** 62n] })).toMatchObject(tensor('int64', [3], [1, -2, 2n ** 62n]));
    expect(read(UINT64, { uint64Data: [1n, 2n, 2n ** 64n - 1n] })).toMatchObject(tensor('uint64', [3], [1, 2, 2n ** 64n - 1n]));
    expect(read(UINT32, { uint64Data: [1n, 2n, 2n ** 32n - 1n] })).toMatchObject(tensor('uint32', [3], [1, 2, 2 ** 32 - 1]));
    for (const [code, dtype] of [
      [INT32, 'int32'],
      [INT16, 'int16'],
      [INT8, 'int8'],
    ] as const)
      expect(read(code, { int32Data: [1, -2, 127] })).toMatchObject(tensor(dtype, [3], [1, -2, 127]));
    for (const [code, dtype] of [
      [UINT16, 'uint16'],
      [UINT8, 'uint8'],
    ] as const)
      expect(read(code, { int32Data: [1, 2, 255] })).toMatchObject(tensor(dtype, [3], [1, 2, 255]));
    expect(read(BOOL, { int32Data: [1, 0, 2] })).toMatchObject(tensor('bool', [3], [1, 0, 1]));
    expect(read(FLOAT16, { int32Data: [0x3c00, 0xc000, 0x7bff] })).toMatchObject(tensor('float16', [3], [1, -2, 65504]));
    expect(read(BFLOAT16, { int32Data: [0x3f80, 0xc000, 0x4049] })).toMatchObject(tensor('bfloat16', [3], [1, -2, 3.140625]));
    expect(read(INT4, { int32Data: [0xe1, 0x07] })).toMatchObject(tensor('int4', [3], [1, -2, 7]));
    expect(read(UINT4, { int32Data: [0xf1, 0x07] })).toMatchObject(tensor('uint4', [3], [1, 15, 7]));
  });

  it('may have no elements and no dims', () => {
    expect(readTensor(bytesOfProto({ dims: [0n, 2n ** 52n], dataType: 1 })).data).toHaveLength(0);
    expect(readTensor(bytesOfProto({ dataType: 1, floatData: [7] }))).toMatchObject({ dims: [], data: Float32Array.of(7) });
  });

  it.each([
    [
      { dims: [2n], dataType: 1, rawData: new Uint8Array(7) },
      'p.pb: the raw bytes do not match float32[2]; expected 8 bytes, got 7',
    ],
    [{ dims: [2n], dataType: 1, floatData: [1] }, 'p.pb: the elements do not match float32[2]; expected 2, got 1'],
    [{ dims: [2n], dataType: 1 }, 'p.pb: the elements do not match float32[2]; expected 2, got 0'],
    [{ dims: [-1n], dataType: 1 }, 'p.pb: a dim is out of range; expected 0 to 2^53, got -1'],
    [{ dims: [2n ** 40n, 2n ** 40n], dataType: 1 }, 'p.pb: too many elements; got dims [1099511627776, 1099511627776]'],
    [
      { dims: [1n], dataType: 17, rawData: new Uint8Array(1) },
      'unsupported element type; expected a float of 16 to 64 bits, an integer or bool, got float8e4m3fn',
    ],
    [{ dims: [1n], dataType: 8 }, 'got string'],
    [{ dims: [1n], dataType: 99 }, 'got element type 99'],
    [
      { dims: [1n], dataType: 1, dataLocation: TensorProto_DataLocation.EXTERNAL },
      'p.pb: its elements are in another file; expected elements in this file',
    ],
  ])('are refused when they contradict themselves: %o', (fields, message) => {
    expect(() => readTensor(bytesOfProto(fields), 'p.pb')).toThrow(message);
  });

  it('are refused, not crashed on, when the bytes are anything', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        try {
          const { dtype, dims, data } = readTensor(bytes);
          expect(data.byteLength).toBe(bytesOf(dtype, countOf(dims)));
        } catch (e) {
          expect(e).toBeInstanceOf(FileError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
