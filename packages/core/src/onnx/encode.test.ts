import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FileError, WeightError } from '../error';
import { bytesOfTensor, tensor } from '../tensor/convert';
import { readOnnx } from './decode';
import { toBytes, toChunks, toMemory } from './encode';
import { requiredIrVersion } from './ir-version';
import type { OnnxInitializer, OnnxModel } from './model';
import { anyModel, bias, filled, linearModel, node, stored, weight } from './testing/models';

async function collect(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts = [];
  for await (const chunk of chunks) parts.push(chunk);
  return new Uint8Array(Buffer.concat(parts));
}

/** The same records, filled in the opposite order. */
function reversed<T>(value: T): T {
  if (Array.isArray(value)) return value.map(reversed) as T;
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value;
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([k, v]) => [k, reversed(v)]),
  ) as T;
}

describe('writing models', () => {
  it('reads back what was written', async () => {
    await fc.assert(
      fc.asyncProperty(anyModel, async (model) => {
        expect(readOnnx(await toBytes(model))).toEqual(model);
      }),
      { numRuns: 300 },
    );
  });

  it('encodes equal models as equal bytes, for any order of the records', async () => {
    await fc.assert(
      fc.asyncProperty(anyModel, async (model) => {
        const bytes = await toBytes(model);
        expect(Buffer.compare(await toBytes(reversed(model)), bytes)).toBe(0);
        expect(Buffer.compare(await toBytes(readOnnx(bytes)), bytes)).toBe(0);
      }),
      { numRuns: 200 },
    );
  });

  it('returns the same stream twice, of the stated length', async () => {
    const encoded = toChunks(linearModel(), { externalData: { location: 'w.bin' } });
    const [model, external] = [await collect(encoded.model), await collect(encoded.external)];
    expect([model.length, external.length]).toEqual([encoded.modelBytes, encoded.externalBytes]);
    expect(await collect(encoded.model)).toEqual(model);
    expect(await collect(encoded.external)).toEqual(external);
  });

  it('does not copy the elements', async () => {
    const chunks = [];
    for await (const chunk of toChunks(linearModel()).model) chunks.push(chunk);
    expect(chunks.filter(({ buffer }) => buffer === weight.data.buffer || buffer === bias.data.buffer)).toHaveLength(2);
    const { externalData } = await toMemory(linearModel());
    expect(externalData.map(({ data }) => data.buffer)).toEqual([weight.data.buffer]);
    expect(externalData[0]!.data.buffer).toBe(weight.data.buffer);
  });

  it('writes lazy and streamed initializers as it writes tensors', async () => {
    const bytes = bytesOfTensor(weight);
    async function* pieces(): AsyncGenerator<Uint8Array> {
      yield bytes.subarray(0, 1009);
      yield new Uint8Array();
      yield bytes.subarray(1009);
    }
    const expected = await toBytes(linearModel());
    expect(await toBytes(linearModel([stored('w', weight, async () => weight), stored('b', bias)]))).toEqual(expected);
    expect(await toBytes(linearModel([stored('w', weight, pieces), stored('b', bias, async () => bias)]))).toEqual(expected);
    const { externalData } = await toMemory(linearModel([stored('w', weight, pieces), stored('b', bias)]));
    expect(externalData).toEqual([{ path: 'weight-0', data: bytes }]);
  });

  it.each([64, 4096] as const)('puts large initializers at multiples of %i bytes of the external file', async (align) => {
    const odd = filled('uint8', [1031], 3);
    const third = filled('int64', [131], 5);
    const model = linearModel([stored('w', weight), stored('odd', odd), stored('b', bias), stored('third', third)]);
    const encoded = toChunks(model, { externalData: { location: 'weights.bin', align } });
    const { graph } = readOnnx(await collect(encoded.model));
    const external = await collect(encoded.external);
    const places = Object.fromEntries(graph.initializers.map(({ name, data }) => [name, data]));
    const end = (n: number): number => Math.ceil(n / align) * align;
    const second = end(weight.data.byteLength);
    expect(places).toMatchObject({
      w: { location: 'weights.bin', offset: 0, length: 2108 },
      odd: { location: 'weights.bin', offset: second, length: 1031 },
      b: bias,
      third: { location: 'weights.bin', offset: second + end(1031), length: 1048 },
    });
    expect(external.subarray(0, 2108)).toEqual(bytesOfTensor(weight));
    expect(external.subarray(second, second + 1031)).toEqual(bytesOfTensor(odd));
    expect(external.subarray(2108, second).every((byte) => byte === 0)).toBe(true);
    expect(external).toHaveLength(second + end(1031) + 1048);
  });

  it('writes data that several initializers of one type share once', async () => {
    async function* sevens(): AsyncGenerator<Uint8Array> {
      yield new Uint8Array(1021).fill(7);
      yield new Uint8Array(1021).fill(7);
    }
    const of = (name: string, dims: readonly number[]): OnnxInitializer => ({ name, dtype: 'uint8', dims, data: sevens });
    const model = linearModel([stored('w', weight), of('p', [2, 1021]), stored('b', bias), of('q', [2, 1021]), of('r', [2042])]);
    const encoded = toChunks(model, { externalData: { location: 'weights.bin' } });
    const places = readOnnx(await collect(encoded.model)).graph.initializers.map(({ name, data }) => [name, data] as const);
    const external = await collect(encoded.external);
    const at = (offset: number) => ({ location: 'weights.bin', offset, length: 2042 });
    expect(Object.fromEntries(places)).toMatchObject({ p: at(4096), q: at(4096), r: at(8192) });
    expect([external.length, encoded.externalBytes]).toEqual([8192 + 2042, 8192 + 2042]);
    for (const offset of [4096, 8192]) expect(external.subarray(offset, offset + 2042).every((byte) => byte === 7)).toBe(true);
    const { externalData } = await toMemory(model);
    expect(externalData.map(({ path, data }) => [path, data.length])).toEqual([
      ['weight-0', 2108],
      ['weight-1', 2042],
      ['weight-2', 2042],
    ]);
  });

  it('copies bytes in memory that the next initializer reuses', async () => {
    const shared = new Uint8Array(2042);
    const of = (value: number): OnnxInitializer => {
      const data = async function* () {
        yield shared.fill(value);
      };
      return { name: `n${value}`, dtype: 'uint8', dims: [2042], data };
    };
    const { externalData } = await toMemory(linearModel([stored('w', weight), of(3), stored('b', bias), of(5)]));
    expect(externalData.slice(1).map(({ data }) => [data.length, ...new Set(data)])).toEqual([
      [2042, 3],
      [2042, 5],
    ]);
  });

  it('keeps tensors that are in an external file there', async () => {
    const data = { location: 'other.bin', offset: 2 ** 40, length: 2108 };
    const model = linearModel([{ ...stored('w', weight), data }, stored('b', bias)]);
    const encoded = toChunks(model, { externalData: { location: 'weights.bin' } });
    expect(readOnnx(await collect(encoded.model)).graph.initializers[0]!.data).toEqual(data);
    expect(encoded.externalBytes).toBe(0);
  });

  it('refuses more than 1 GiB in one array before loading any of it', async () => {
    const load = async (): Promise<never> => {
      throw new Error('loaded');
    };
    const initializer: OnnxInitializer = { name: 'w', dtype: 'float32', dims: [2 ** 20, 257], data: load };
    await expect(toBytes(linearModel([initializer]))).rejects.toThrow(
      new FileError({
        path: 'linear',
        problem: 'too large for one array of bytes',
        expected: 'at most 1.0 GiB',
        got: '1.0 GiB',
        hint: 'Save it to a folder instead, with the weights in a separate file.',
      }),
    );
    expect(
      toChunks(linearModel([{ ...initializer, dims: [2 ** 30, 2 ** 11] }]), { externalData: { location: 'w' } }).externalBytes,
    ).toBe(2 ** 43);
  });

  it.each<[string, OnnxInitializer['data']]>([
    ['expected float32[17, 31], got float32[31, 17]', async () => ({ ...weight, dims: [31, 17] })],
    ['expected float32[17, 31], got float16[17, 31]', async () => filled('float16', [17, 31], 0)],
    ['expected 2108 bytes, got 2104', async () => ({ ...weight, data: weight.data.slice(1) })],
    ['expected 2108 bytes, got 2000', () => streamOf(2000)],
    ['expected 2108 bytes, got 2109 or more', () => streamOf(2109)],
  ])('says which weight was not what the model declares: %s', async (message, data) => {
    const wrong = toBytes(linearModel([stored('w', weight, data), stored('b', bias)]));
    await expect(wrong).rejects.toThrow(`weight "w": the loaded tensor does not match its declaration; ${message}`);
    await expect(wrong).rejects.toBeInstanceOf(WeightError);
  });

  it('refuses lazy initializers in subgraphs and numbers that are not integers', async () => {
    const body = { ...linearModel().graph, initializers: [stored('w', weight, async () => weight)] };
    const withAttribute = (attributes: OnnxModel['graph']['nodes'][number]['attributes']): OnnxModel => ({
      opsets: { '': 21 },
      graph: { ...body, initializers: [], nodes: [node('n', 'If', [], [], { attributes })] },
    });
    expect(() => toChunks(withAttribute({ then_branch: { type: 'graph', value: body } }))).toThrow(
      'internal: initializer "w" of a subgraph is a function; only tensors are supported there',
    );
    expect(() => toChunks(withAttribute({ axis: { type: 'int', value: 1.5 } }))).toThrow(
      'internal: attribute "axis" of node "n" is 1.5, not an integer',
    );
  });
});

describe('the IR version', () => {
  const withOpset = (opset: number, rest: Partial<OnnxModel['graph']> = {}): OnnxModel => ({
    opsets: { 'ai.onnx': opset, 'com.microsoft': 99 },
    graph: { name: 'g', nodes: [], inputs: [], outputs: [], initializers: [], ...rest },
  });

  it('is that of the release which brought the opset', () => {
    const table = {
      7: 4,
      9: 4,
      10: 5,
      11: 6,
      12: 7,
      14: 7,
      15: 8,
      18: 8,
      19: 9,
      20: 9,
      21: 10,
      22: 10,
      23: 11,
      24: 12,
      25: 13,
      26: 13,
    };
    expect(Object.fromEntries(Object.keys(table).map((opset) => [opset, requiredIrVersion(withOpset(Number(opset)))]))).toEqual(
      table,
    );
  });

  it('is at least 10 with 4-bit integers anywhere in the model', () => {
    const int4 = tensor('int4', [3], [1, 2, 3]);
    const body = withOpset(18, { values: [{ name: 'v', dtype: 'uint4' }] }).graph;
    expect(requiredIrVersion(withOpset(18, { inputs: [{ name: 'x', dtype: 'bfloat16', dims: [] }] }))).toBe(8);
    expect(requiredIrVersion(withOpset(18, { initializers: [stored('w', int4)] }))).toBe(10);
    expect(
      requiredIrVersion(
        withOpset(18, { nodes: [node('n', 'Constant', [], ['y'], { attributes: { value: { type: 'tensor', value: int4 } } })] }),
      ),
    ).toBe(10);
    expect(
      requiredIrVersion(
        withOpset(18, {
          nodes: [node('n', 'If', ['c'], ['y'], { attributes: { then_branch: { type: 'graph', value: body } } })],
        }),
      ),
    ).toBe(10);
  });

  it('determines where the metadata of nodes is written', async () => {
    const nodeOf = async (opset: number): Promise<object> =>
      readOnnx(await toBytes(linearModel(undefined, { opsets: { '': opset } }))).graph.nodes[0]!;
    expect(await nodeOf(21)).toMatchObject({ metadata: { 'onnxformers.path': 'layers.0.proj', rule: 'linear' } });
    expect(await nodeOf(18)).toMatchObject({ doc: 'onnxformers.path: layers.0.proj\nrule: linear' });
    expect(await nodeOf(18)).not.toHaveProperty('metadata');
  });
});

async function* streamOf(length: number): AsyncGenerator<Uint8Array> {
  yield new Uint8Array(length);
}
