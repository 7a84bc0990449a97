import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FileError } from '../error';
import type { Tensor } from '../tensor/tensor';
import { readOnnx } from './decode';
import { toBytes } from './encode';
import { AttributeProto_AttributeType as Kind, ModelProtoSchema, TensorProto_DataLocation } from './gen/onnx_pb';
import { inspect } from './inspect';
import { printInspection } from './print';
import { anyModel, linearModel, stored, weight } from './testing/models';

type Graph = MessageInitShape<typeof ModelProtoSchema>['graph'];
const file = (graph: Graph, rest: object = {}): Uint8Array =>
  toBinary(ModelProtoSchema, create(ModelProtoSchema, { irVersion: 10n, graph: graph ?? {}, ...rest }));
const withAttribute = (attribute: object): Uint8Array =>
  file({ node: [{ name: 'n', opType: 'Op', attribute: [{ name: 'a', ...attribute }] }] });
const withExternal = (entries: Record<string, string>): Uint8Array =>
  file({
    initializer: [
      {
        name: 'w',
        dims: [3n, 5n],
        dataType: 1,
        dataLocation: TensorProto_DataLocation.EXTERNAL,
        externalData: Object.entries(entries).map(([key, value]) => ({ key, value })),
      },
    ],
  });

describe('reading models', () => {
  it('returns a view of the bytes if elements are aligned, otherwise a copy', async () => {
    const bytes = await toBytes(linearModel([stored('w', weight)]));
    const views = [0, 1, 2, 3].map((shift) => {
      const shifted = new Uint8Array(bytes.length + shift);
      shifted.set(bytes, shift);
      const { data } = readOnnx(shifted.subarray(shift)).graph.initializers[0]!;
      expect(data).toEqual(weight);
      return (data as Tensor).data.buffer === shifted.buffer;
    });
    expect(views.filter(Boolean)).toHaveLength(1);
  });

  it('reads default domains and external data without offset and length', () => {
    const { opsets, graph } = readOnnx(
      file({ node: [{ opType: 'Add', domain: 'ai.onnx' }] }, { opsetImport: [{ domain: 'ai.onnx', version: 23n }] }),
    );
    expect([opsets, graph.nodes[0]!.domain]).toEqual([{ '': 23 }, '']);
    expect(readOnnx(withExternal({ location: 'w.bin' })).graph.initializers[0]!.data).toEqual({
      location: 'w.bin',
      offset: 0,
      length: 60,
    });
    const far = `${2 ** 52}`;
    expect(
      readOnnx(withExternal({ location: 'w.bin', offset: far, length: '60', checksum: 'x' })).graph.initializers[0]!.data,
    ).toEqual({
      location: 'w.bin',
      offset: 2 ** 52,
      length: 60,
    });
  });

  it.each<[string, Uint8Array]>([
    ['m.onnx: not an ONNX model; expected a graph, got none', new Uint8Array()],
    ['m.onnx: not an ONNX model; got premature EOF. The file may be truncated, or of another format.', Uint8Array.of(0x3a, 99)],
    [
      'm.onnx: the model defines its own functions; expected nodes of known ops, got function "f"',
      file({}, { functions: [{ name: 'f' }] }),
    ],
    ['m.onnx: the graph has sparse initializers', file({ sparseInitializer: [{}] })],
    [
      'm.onnx, value "x": not a tensor; got sequence',
      file({ input: [{ name: 'x', type: { value: { case: 'sequenceType', value: {} } } }] }),
    ],
    ['m.onnx, value "x": not a tensor; got no type', file({ input: [{ name: 'x' }] })],
    [
      'm.onnx, value "x": unsupported element type; got string',
      file({ output: [{ name: 'x', type: { value: { case: 'tensorType', value: { elemType: 8 } } } }] }),
    ],
    ['m.onnx, initializer "w": its elements are in another file, which is not named', withExternal({})],
    [
      'initializer "w": the offset of its external data is not a number; expected digits, got "-1"',
      withExternal({ location: 'w', offset: '-1' }),
    ],
    [
      'the length of its external data is not a number; expected digits, got "0x10"',
      withExternal({ location: 'w', length: '0x10' }),
    ],
    [
      'the offset of its external data is out of range; expected 0 to 2^53, got 9999999999999999',
      withExternal({ location: 'w', offset: '9'.repeat(16) }),
    ],
    [
      'the length of its external data does not match its dims; expected 60 bytes, got 61',
      withExternal({ location: 'w', length: '61' }),
    ],
    [
      'm.onnx, attribute "a" of node "n": the attribute is binary; expected text in UTF-8',
      withAttribute({ type: Kind.STRING, s: Uint8Array.of(0xff) }),
    ],
    ['attribute "a" of node "n": the attribute refers to an attribute of a function', withAttribute({ refAttrName: 'b' })],
    [
      'attribute "a" of node "n": unsupported type of attribute; expected a number, string, tensor',
      withAttribute({ type: Kind.TYPE_PROTO }),
    ],
    [
      'unsupported type of attribute; expected a number, string, tensor or graph, or a list of numbers or strings, got TENSOR',
      withAttribute({ type: Kind.TENSOR }),
    ],
    ['got UNDEFINED', withAttribute({})],
    ['m.onnx: the IR version is out of range; expected 0 to 2^53, got -1', file({}, { irVersion: -1n })],
  ])('says what it cannot read: %s', (message, bytes) => {
    expect(() => readOnnx(bytes, 'm.onnx')).toThrow(message);
    expect(() => readOnnx(bytes, 'm.onnx')).toThrow(FileError);
  });
});

/** What a reader may do with hostile bytes: give something sensible or throw a FileError. Returns whether it read them. */
function survives(bytes: Uint8Array): boolean {
  const attempt = (read: () => unknown): boolean => {
    try {
      read();
      return true;
    } catch (e) {
      expect(e).toBeInstanceOf(FileError);
      return false;
    }
  };
  const inspected = attempt(() => expect(printInspection(inspect(bytes))).not.toMatch(/\p{Cc}(?<!\n)/u));
  const read = attempt(() => readOnnx(bytes));
  expect(inspected || !read).toBe(true); // whatever can be read can be inspected
  return read;
}

describe('hostile files', () => {
  it('of any bytes are refused', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        survives(bytes);
      }),
      { numRuns: 3000 },
    );
  });

  it('of a valid model with some bytes changed, cut off or repeated are read or refused', async () => {
    const counts = { read: 0, refused: 0 };
    const mutation = fc.array(fc.tuple(fc.constantFrom('set', 'cut', 'insert', 'repeat'), fc.nat(), fc.nat(255)), {
      minLength: 1,
      maxLength: 4,
    });
    await fc.assert(
      fc.asyncProperty(anyModel, mutation, async (model, changes) => {
        let bytes = Array.from(await toBytes(model));
        for (const [how, at, value] of changes) {
          const i = at % (bytes.length + 1);
          if (how === 'set') bytes[i] = value;
          if (how === 'insert') bytes.splice(i, 0, value);
          if (how === 'cut') bytes = bytes.slice(0, i);
          if (how === 'repeat') bytes.splice(i, 0, ...bytes.slice(i, i + value));
        }
        counts[survives(Uint8Array.from(bytes)) ? 'read' : 'refused']++;
      }),
      { numRuns: 3000 },
    );
    // Both happen often, so that the mutations are neither too mild nor too wild.
    expect(Math.min(counts.read, counts.refused)).toBeGreaterThan(100);
  });

  it('with graphs nested too deeply are refused', () => {
    let graph: NonNullable<Graph> = { name: 'innermost' };
    for (let i = 0; i < 200; i++) graph = { node: [{ attribute: [{ name: 'body', type: Kind.GRAPH, g: graph }] }] };
    expect(() => readOnnx(file(graph))).toThrow('the graphs are nested too deeply; expected at most 100 levels');
  });

  it('with many integers in lists are refused before they become numbers', () => {
    // int64_data of a tensor: one byte for each.
    const message = (field: number, bytes: Uint8Array): Uint8Array => {
      const head = [field * 8 + 2];
      let { length } = bytes;
      for (; length > 127; length = Math.floor(length / 128)) head.push((length % 128) + 128);
      const all = new Uint8Array(head.length + 1 + bytes.length);
      all.set([...head, length]);
      all.set(bytes, head.length + 1);
      return all;
    };
    const list = message(7, message(5, message(7, new Uint8Array(2 ** 24 + 1))));
    expect(() => readOnnx(list)).toThrow(
      'tensors have too many integers in lists; expected at most 16777216 integers in int32_data, int64_data and uint64_data, got more. Store them as raw_data',
    );
  });

  it('that declare enormous tensors allocate nothing', () => {
    const huge = { name: 'w', dims: [2n ** 45n], dataType: 1 };
    expect(() => readOnnx(file({ initializer: [huge] }))).toThrow(
      'the elements do not match float32[35184372088832]; expected 35184372088832, got 0',
    );
    expect(() => readOnnx(file({ initializer: [{ ...huge, dims: Array(100_000).fill(2n ** 50n) }] }))).toThrow(
      'too many elements; got dims a list of 100000',
    );
  });
});
