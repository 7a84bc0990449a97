import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { castTensor, tensor } from '../tensor/convert';
import { dtypes } from '../tensor/tensor';
import { readOnnx } from './decode';
import { toBytes, toChunks, toMemory } from './encode';
import type { OnnxAttribute, OnnxModel } from './model';
import { saveOnnx } from './save';
import { bias, expectedY, linearModel, node, stored, weight, x } from './testing/models';

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'ort-'));
});
afterAll(() => rm(dir, { recursive: true }));

const feed = () => ({ x: new Tensor('float32', x.data, x.dims) });

async function run(session: InferenceSession): Promise<void> {
  const { y } = await session.run(feed());
  const largest = Math.max(...expectedY.map(Math.abs));
  const errors = Array.from(y!.data as Float32Array, (value, i) => Math.abs(value - expectedY[i]!));
  // 17 products and a sum: a rounding of at most half an ulp of the largest partial sum for each.
  expect(Math.max(...errors)).toBeLessThan(18 * 2 ** -24 * 2 * largest);
  expect(y!.dims).toEqual([5, 31]);
}

describe('the runtime', () => {
  it('runs a model from bytes, with its weights after the graph', async () => {
    await run(await InferenceSession.create(await toBytes(linearModel())));
  });

  it('runs a model given as bytes with external data in memory', async () => {
    const { model, externalData } = await toMemory(linearModel());
    expect(externalData).toHaveLength(1);
    await run(await InferenceSession.create(model, { externalData }));
  });

  it.each([64, 4096] as const)('runs a model given as streams, weights at multiples of %i bytes', async (align) => {
    const model = linearModel([stored('b', bias), stored('w', weight)]);
    const encoded = toChunks(model, { externalData: { location: 'weights.bin', minBytes: 1, align } });
    const [bytes, data] = [await joined(encoded.model), await joined(encoded.external)];
    await run(await InferenceSession.create(bytes, { externalData: [{ path: 'weights.bin', data }] }));
  });

  it('runs a saved model given by path', async () => {
    await saveOnnx(linearModel(), dir);
    await run(await InferenceSession.create(join(dir, 'model.onnx')));
  });

  it.each([9, 13, 18, 21, 23, 26])('takes the IR version that opset %i needs', async (opset) => {
    await run(await InferenceSession.create(await toBytes(linearModel(undefined, { opsets: { '': opset } }))));
  });

  it('reads data that two initializers share into both', async () => {
    const table = tensor(
      'float32',
      [571],
      Float32Array.from({ length: 571 }, (_, i) => Math.cos(i)),
    );
    const model: OnnxModel = {
      opsets: { '': 21 },
      graph: {
        name: 'twice',
        inputs: [{ name: 'x', dtype: 'float32', dims: [571] }],
        outputs: [{ name: 'y', dtype: 'float32', dims: [571] }],
        nodes: [node('Mul', 'Mul', ['x', 'p'], ['xp']), node('Add', 'Add', ['xp', 'q'], ['y'])],
        initializers: [stored('p', table), stored('q', table)],
      },
    };
    await saveOnnx(model, join(dir, 'twice'));
    expect((await readFile(join(dir, 'twice/weights.bin'))).length).toBe(571 * 4);
    const { model: bytes, externalData } = await toMemory(model);
    expect(externalData).toHaveLength(1);
    for (const session of [
      await InferenceSession.create(join(dir, 'twice/model.onnx')),
      await InferenceSession.create(bytes, { externalData }),
    ]) {
      const { y } = await session.run({ x: new Tensor('float32', new Float32Array(571).fill(2), [571]) });
      expect(Array.from(y!.data as Float32Array)).toEqual(Array.from(table.data as Float32Array, (t) => Math.fround(3 * t)));
    }
  });

  it('runs a model that was read from a file and written again', async () => {
    await saveOnnx(linearModel(), join(dir, 'again'));
    const model = readOnnx(await readFile(join(dir, 'again/model.onnx')));
    const data = await readFile(join(dir, 'again/weights.bin'));
    await run(await InferenceSession.create(await toBytes(model), { externalData: [{ path: 'weights.bin', data }] }));
  });

  it.each(dtypes.filter((dtype) => dtype !== 'float32'))(
    'understands %s initializers, embedded and beside the model',
    async (dtype) => {
      const values = dtype === 'bool' ? [1, 0, 1] : dtype.startsWith('u') ? [1, 0, 7] : [1, -2, 7];
      const op = dtype.endsWith('int4') ? 'DequantizeLinear' : 'Cast';
      const scale = op === 'Cast' ? [] : [stored('scale', tensor('float32', [], [1]))];
      const model: OnnxModel = {
        opsets: { '': 21 },
        graph: {
          name: 'cast',
          inputs: [],
          outputs: [{ name: 'y', dtype: 'float32', dims: [3] }],
          nodes: [
            node(
              'n',
              op,
              op === 'Cast' ? ['w'] : ['w', 'scale'],
              ['y'],
              op === 'Cast' ? { attributes: { to: { type: 'int', value: 1 } } } : {},
            ),
          ],
          initializers: [stored('w', tensor(dtype, [3], values)), ...scale],
        },
      };
      const { model: bytes, externalData } = await toMemory(model, { minBytes: 1 });
      for (const session of [
        await InferenceSession.create(await toBytes(model)),
        await InferenceSession.create(bytes, { externalData }),
      ]) {
        expect(Array.from((await session.run({})).y!.data as Float32Array)).toEqual(values);
      }
    },
  );

  it('understands every kind of attribute', async () => {
    const half = castTensor(tensor('float32', [1], [0.5]), 'float16');
    const floats: OnnxAttribute = { type: 'floats', value: [1.5, -2.25] };
    const branch = (name: string, attribute: Record<string, OnnxAttribute>): OnnxAttribute => ({
      type: 'graph',
      value: {
        name,
        inputs: [],
        outputs: [{ name: `${name}_y`, dtype: 'float32', dims: [2] }],
        // Scaled by an initializer of the subgraph.
        nodes: [
          node(`${name}/Constant`, 'Constant', [], [`${name}_c`], { attributes: attribute }),
          node(`${name}/Mul`, 'Mul', [`${name}_c`, 'k'], [`${name}_y`]),
        ],
        initializers: [stored('k', tensor('float32', [2], [10, 100]))],
      },
    });
    const model: OnnxModel = {
      opsets: { '': 21 },
      graph: {
        name: 'attributes',
        inputs: [
          { name: 'condition', dtype: 'bool', dims: [] },
          { name: 'a', dtype: 'float32', dims: ['n', 3] },
        ],
        outputs: [
          { name: 'y', dtype: 'float32', dims: [2] },
          { name: 'h', dtype: 'float16', dims: [1] },
          { name: 'i', dtype: 'int64', dims: [3] },
          { name: 'sum', dtype: 'float32', dims: [3] },
        ],
        nodes: [
          node('if', 'If', ['condition'], ['y'], {
            attributes: {
              then_branch: branch('then', { value_floats: floats }),
              else_branch: branch('else', { value: { type: 'tensor', value: tensor('float32', [2], [3, 4]) } }),
            },
          }),
          node('half', 'Constant', [], ['h'], { attributes: { value: { type: 'tensor', value: half } } }),
          node('ints', 'Constant', [], ['i'], { attributes: { value_ints: { type: 'ints', value: [5, -7, 2n ** 60n] } } }),
          node('sum', 'Einsum', ['a'], ['sum'], { attributes: { equation: { type: 'string', value: 'ij->j' } } }),
        ],
        initializers: [],
      },
    };
    const session = await InferenceSession.create(await toBytes(model));
    const a = new Tensor('float32', Float32Array.of(1, 2, 3, 40, 50, 60), [2, 3]);
    const outputs = async (condition: boolean) => session.run({ a, condition: new Tensor('bool', [condition], []) });
    const yes = await outputs(true);
    expect(Array.from(yes.y!.data as Float32Array)).toEqual([15, -225]);
    expect(Array.from((await outputs(false)).y!.data as Float32Array)).toEqual([30, 400]);
    expect(new Uint16Array((yes.h!.data as Uint16Array).buffer, (yes.h!.data as Uint16Array).byteOffset, 1)).toEqual(
      Uint16Array.of(0x3800),
    );
    expect(Array.from(yes.i!.data as BigInt64Array)).toEqual([5n, -7n, 2n ** 60n]);
    expect(Array.from(yes.sum!.data as Float32Array)).toEqual([41, 52, 63]);
  });
});

async function joined(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts = [];
  for await (const chunk of chunks) parts.push(chunk);
  return new Uint8Array(Buffer.concat(parts));
}
