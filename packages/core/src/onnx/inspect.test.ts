import { mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { create, toBinary } from '@bufbuild/protobuf';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { tensor } from '../tensor/convert';
import { toBytes } from './encode';
import { AttributeProto_AttributeType as Kind, ModelProtoSchema } from './gen/onnx_pb';
import { inspect } from './inspect';
import { inspectFile } from './inspect-file';
import type { OnnxModel } from './model';
import { printBytes, printInspection } from './print';
import { saveOnnx } from './save';
import { bias, filled, linearModel, node, stored, weight } from './testing/models';

const attention = (layer: number) =>
  node(`layers.${layer}.mixer/MultiHeadAttention`, 'MultiHeadAttention', ['x', 'x', 'x'], [`a${layer}`], {
    domain: 'com.microsoft',
    metadata: { 'onnxformers.path': `layers.${layer}.mixer` },
    attributes: { num_heads: { type: 'int', value: 17 } },
  });

function sample(): OnnxModel {
  const { graph, ...rest } = linearModel();
  const body = {
    name: 'body',
    inputs: [],
    outputs: [],
    nodes: [node('layers.2/block/Add', 'Add', ['x', 'x'], ['z'])],
    initializers: [stored('half', filled('float16', [3], 2))],
  };
  return {
    ...rest,
    opsets: { '': 21, 'com.microsoft': 1 },
    graph: {
      ...graph,
      inputs: [...graph.inputs, { name: 'mask', dtype: 'bool' }],
      nodes: [
        ...graph.nodes,
        attention(0),
        attention(1),
        node('If', 'If', ['c'], ['z'], { attributes: { then_branch: { type: 'graph', value: body } } }),
      ],
      initializers: [
        ...graph.initializers,
        stored('shape', tensor('int64', [2], [0, -1])),
        stored('packed', tensor('int4', [3], [1, 2, 3])),
      ],
    },
  };
}

describe('inspection', () => {
  it('counts ops by block, also in subgraphs, and initializers by element type', async () => {
    const found = inspect(await toBytes(sample()));
    expect(found).toMatchObject({
      irVersion: 10,
      opsets: { '': 21, 'com.microsoft': 1 },
      producer: 'sample 1.2.3',
      metadata: { config: '{"dim":17}' },
      inputs: [
        { name: 'x', type: 'float32', dims: ['batch', 17] },
        { name: 'mask', type: 'bool' },
      ],
      outputs: [{ name: 'y', type: 'float32', dims: ['batch', 31] }],
      nodes: 6,
      subgraphs: 1,
      parameters: 17 * 31 + 31 + 3 + 3,
      externalFiles: [],
    });
    expect(found.ops).toEqual([
      { domain: '', opType: 'Add', count: 2, paths: { 'layers.0.proj': 1, 'layers.2/block': 1 } },
      { domain: 'com.microsoft', opType: 'MultiHeadAttention', count: 2, paths: { 'layers.0.mixer': 1, 'layers.1.mixer': 1 } },
      { domain: '', opType: 'If', count: 1, paths: { '': 1 } },
      { domain: '', opType: 'MatMul', count: 1, paths: { 'layers.0.proj': 1 } },
    ]);
    expect(found.initializers).toEqual([
      { type: 'float32', tensors: 2, elements: 558, bytes: 2232 },
      { type: 'int64', tensors: 1, elements: 2, bytes: 16 },
      { type: 'float16', tensors: 1, elements: 3, bytes: 6 },
      { type: 'int4', tensors: 1, elements: 3, bytes: 2 },
    ]);
    expect(JSON.parse(JSON.stringify(found))).toEqual(found);
  });

  it('finds the block of a node in its doc below IR version 10, and in customary names', async () => {
    const { graph, ...rest } = linearModel(undefined, { opsets: { '': 18 } });
    const named = [{ ...graph.nodes[0]!, name: 'n' }, node('/model/layers.3/Add', 'Add', [], [])];
    const { ops } = inspect(await toBytes({ ...rest, graph: { ...graph, nodes: named } }));
    expect(ops.map(({ paths }) => paths)).toEqual([{ 'model/layers.3': 1 }, { 'layers.0.proj': 1 }]);
  });

  it('prints', async () => {
    expect(printInspection(inspect(await toBytes(sample())))).toMatchInlineSnapshot(`
      "ONNX model · IR version 10 · opset 21 · com.microsoft 1 · by sample 1.2.3
      6 nodes (also in 1 subgraph), 564 parameters, 2.2 KiB of initializers

      inputs
        x     float32[batch, 17]
        mask  bool

      outputs
        y  float32[batch, 31]

      ops
        2  Add                               layers.*.proj, layers.*/block
        2  com.microsoft.MultiHeadAttention  layers.*.mixer ×2
        1  If
        1  MatMul                            layers.*.proj

      initializers
        float32  2 tensors  558 elements  2.2 KiB
        int64    1 tensor   2 elements    16 bytes
        float16  1 tensor   3 elements    6 bytes
        int4     1 tensor   3 elements    2 bytes

      metadata
        config  {"dim":17}"
    `);
  });

  it('reads what the reader of graphs refuses', () => {
    const float8 = { name: 'f8', dims: [5n], dataType: 17, rawData: new Uint8Array(5) };
    const sequence = {
      value: {
        case: 'sequenceType' as const,
        value: { elemType: { value: { case: 'tensorType' as const, value: { elemType: 8 } } } },
      },
    };
    const unknown = {
      value: {
        case: 'tensorType' as const,
        value: { elemType: 1, shape: { dim: [{ value: { case: 'dimValue' as const, value: -1n } }, {}] } },
      },
    };
    const bytes = toBinary(
      ModelProtoSchema,
      create(ModelProtoSchema, {
        irVersion: 3n,
        functions: [{ name: 'f', domain: 'own', node: [{ opType: 'Neg' }] }],
        graph: {
          input: [{ name: 'texts', type: sequence }, { name: 'f8' }],
          output: [{ name: 'y', type: unknown }],
          initializer: [float8, { name: 's', dims: [1n], dataType: 8, stringData: [new Uint8Array(7)] }],
          sparseInitializer: [{ values: float8, indices: { name: 'i', dims: [5n], dataType: 7 } }],
          node: [{ opType: 'Op', attribute: [{ type: Kind.GRAPHS, graphs: [{}, {}] }] }],
        },
      }),
    );
    expect(inspect(bytes)).toMatchObject({
      inputs: [{ name: 'texts', type: 'sequence of string' }],
      outputs: [{ name: 'y', type: 'float32', dims: ['', ''] }],
      functions: ['own.f'],
      nodes: 2,
      subgraphs: 2,
      parameters: 10,
      initializers: [
        { type: 'int64', bytes: 40 },
        { type: 'float8e4m3fn', tensors: 2, bytes: 10 },
        { type: 'string', bytes: 7 },
      ],
    });
  });

  it('prints no control characters of a foreign file', async () => {
    const { graph, ...rest } = linearModel();
    const text = printInspection(
      inspect(
        await toBytes({
          ...rest,
          doc: 'a\u001b[2Jb\nc',
          graph: { ...graph, nodes: [node('a\u0007/b', 'Op\u001b[31m', [], [])] },
        }),
      ),
    );
    expect(text).not.toMatch(/\p{Cc}(?<!\n)/u);
    expect(text).toContain('a [2Jb c');
  });

  it('prints sizes', () => {
    expect([0, 1023, 1024, 1536, 2 ** 30, 2.25 * 2 ** 40, 2 ** 60].map(printBytes)).toEqual([
      '0 bytes',
      '1023 bytes',
      '1.0 KiB',
      '1.5 KiB',
      '1.0 GiB',
      '2.3 TiB',
      '1048576.0 TiB',
    ]);
  });
});

describe('inspection of files', () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'inspect-'));
  });
  afterEach(() => rm(dir, { recursive: true }));

  it('reports what is wrong with external files', async () => {
    const big = filled('float32', [1031], 1);
    await saveOnnx(linearModel([stored('w', weight), stored('big', big), stored('b', bias)]), dir);
    const path = join(dir, 'model.onnx');
    const file = { location: 'weights.bin', tensors: 2, bytes: 2108 + 4124, end: 4096 + 4124 };
    expect((await inspectFile(path)).externalFiles).toEqual([file]);
    await truncate(join(dir, 'weights.bin'), 8219);
    expect((await inspectFile(path)).externalFiles).toEqual([{ ...file, problem: 'truncated: 8219 of 8220 bytes' }]);
    await rm(join(dir, 'weights.bin'));
    expect((await inspectFile(path)).externalFiles).toEqual([{ ...file, problem: 'missing' }]);
    expect(printInspection(await inspectFile(path))).toMatch(/weights\.bin +2 tensors +6\.1 KiB +missing/);
  });

  it('does not look outside the folder of the model', async () => {
    for (const location of ['../secret', '/etc/passwd', 'a/../../b']) {
      await writeFile(
        join(dir, 'm.onnx'),
        await toBytes(linearModel([{ ...stored('w', weight), data: { location, offset: 0, length: 2108 } }])),
      );
      expect((await inspectFile(join(dir, 'm.onnx'))).externalFiles).toMatchObject([
        { location, problem: 'outside the folder of the model' },
      ]);
    }
  });

  it('names the file that cannot be read', async () => {
    await expect(inspectFile(join(dir, 'none.onnx'))).rejects.toThrow(`${join(dir, 'none.onnx')}: no such file or folder`);
    await expect(inspectFile(dir)).rejects.toThrow(`${dir}: a folder, not a file`);
    await writeFile(join(dir, 'text.onnx'), 'not a model');
    await expect(inspectFile(join(dir, 'text.onnx'))).rejects.toThrow(`${join(dir, 'text.onnx')}: not an ONNX model`);
  });
});
