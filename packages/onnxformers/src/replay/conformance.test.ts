import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { compile, FileError, module, serialize, type Tensor, targets, tensor, type Value, writeTensor } from '@onnxformers/core';
import { saveOnnx } from '@onnxformers/core/node';
import * as ops from '@onnxformers/core/ops';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runtimeOf, targetOf } from './machines';
import { conform, type NodeOutcome, totalsOf } from './onnx-node/conform';
import { readNodeCases } from './onnx-node/node-case';

const recorded = process.env.ONNX_NODE_TESTS;
const deviceOf = async (name: string) => ({ target: targetOf(name)!, ort: await runtimeOf(name) });

describe.each(['portable', 'portable-18', 'cpu'])('node cases of the standard on %s', (name) => {
  it('hold', async ({ skip }) => {
    if (!recorded) return skip('ONNX_NODE_TESTS names no folder of them');
    const device = await deviceOf(name);
    const outcomes: NodeOutcome[] = [];
    for (const c of await readNodeCases(recorded)) outcomes.push(await conform(c, device));
    expect(outcomes.filter(({ result }) => result === 'failed')).toEqual([]);
    for (const op of [
      'Attention',
      'ai.onnx.preview.FlexAttention',
      'RotaryEmbedding',
      'RMSNormalization',
      'LayerNormalization',
      'Gelu',
      'Softmax',
    ])
      expect(totalsOf(outcomes.filter((o) => o.op === op))).toMatchObject({
        passed: expect.toSatisfy((n: number) => n > 0),
        leftOut: 0,
      });
    const leftOut = new Set(outcomes.filter(({ result }) => result === 'left out').map(({ op }) => op));
    expect([...leftOut].sort()).toEqual(['CausalConvWithState', 'LinearAttention']);
  });
});

describe('a folder of node cases', () => {
  let folder = '';
  const save = async (id: string, call: (x: Value) => Value, x: Tensor, y: Tensor): Promise<void> => {
    const at = join(folder, id, 'test_data_set_0');
    await mkdir(at, { recursive: true });
    const model = compile(
      module({}, (inputs: Readonly<Record<string, Value>>) => ({ y: call(inputs.x!) })),
      { target: targets.cpu, inputs: { x: [x.dtype, x.dims] } },
    );
    await saveOnnx(serialize(model), join(folder, id));
    await writeFile(join(at, 'input_0.pb'), writeTensor(x, 'x'));
    await writeFile(join(at, 'output_0.pb'), writeTensor(y, 'y'));
  };
  const x = tensor('float32', [2, 3], [0, Math.log(2), Math.log(5), Math.log(3), 0, 0]);
  const y = tensor('float32', [2, 3], [1 / 8, 2 / 8, 5 / 8, 3 / 5, 1 / 5, 1 / 5]);

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'node-cases-'));
    await save('softmax', (v) => ops.softmax(v), x, y);
    await save('softmax_wrong', (v) => ops.softmax(v), x, tensor('float32', [2, 3], [1 / 8, 2 / 8, 5 / 8, 3 / 5, 1 / 5, 0.3]));
    await save('two_nodes', (v) => ops.softmax(ops.softmax(v)), x, y);
    await mkdir(join(folder, 'empty'));
  });
  afterAll(() => rm(folder, { recursive: true }));

  it('is read and run in every way', async () => {
    const device = await deviceOf('cpu');
    const outcomes = await Promise.all((await readNodeCases(folder)).map((c) => conform(c, device)));
    expect(outcomes.map(({ id, result }) => [id, result])).toEqual([
      ['softmax', 'passed'],
      ['softmax_wrong', 'failed'],
      ['two_nodes', 'left out'],
    ]);
    expect(outcomes[0]).toMatchObject({ op: 'Softmax', ways: { evaluate: true, runtime: true } });
    expect(outcomes[0]!.ways).not.toHaveProperty('decompose');
    expect(outcomes[1]!.ways.evaluate).toMatch(/worst at \[1, 2\]: expected 0.3/);
    expect(outcomes[1]!.ways.runtime).toMatch(/worst at \[1, 2\]: expected 0.3/);
    expect(outcomes[2]!.note).toBe('2 nodes instead of one');
  });

  it('reads what the standard has as inputs and we as attributes', async () => {
    await save(
      'cumsum',
      (v) => ops.cumSum(v, 1, { reverse: true }),
      tensor('float32', [2, 3], [1, 2, 4, 8, 16, 32]),
      tensor('float32', [2, 3], [7, 6, 4, 56, 48, 32]),
    );
    const [c] = (await readNodeCases(folder)).filter(({ id }) => id === 'cumsum');
    // The axis is an initializer of the saved model, an input in the standard's cases.
    if (!c || !('node' in c)) throw new Error('cumsum was not read');
    const asInput = {
      ...c,
      node: { ...c.node, inputs: ['x', 'axis'] },
      inputs: new Map([...c.inputs, ['axis', tensor('int64', [], [-1])]]),
    };
    expect(await conform(asInput, await deviceOf('cpu'))).toMatchObject({
      result: 'passed',
      ways: { evaluate: true, runtime: true },
    });
  });

  it('lists ops and attributes that are not in the vocabulary', async () => {
    const c = (await readNodeCases(folder)).find(({ id }) => id === 'softmax');
    if (!c || !('node' in c)) throw new Error('softmax was not read');
    const device = await deviceOf('cpu');
    const other = { ...c, node: { ...c.node, opType: 'Softmin' } };
    expect(await conform(other, device)).toMatchObject({
      result: 'left out',
      note: 'Softmin of opset 18 is not in the vocabulary',
    });
    const more = {
      ...c,
      node: { ...c.node, attributes: { ...c.node.attributes, temperature: { type: 'float' as const, value: 2 } } },
    };
    expect(await conform(more, device)).toMatchObject({ result: 'left out', note: 'our Softmax has no attribute "temperature"' });
  });

  it('decomposes functions of the standard', async () => {
    const rows = tensor('float32', [2, 2], [1, 3, 10, 30]);
    const scale = (g: Value) => g.graph.root.number([2, 2], 'float32');
    await save(
      'norm',
      (v) => ops.layerNorm(v, scale(v), undefined, { epsilon: 0 }),
      rows,
      tensor('float32', [2, 2], [-2, 2, -2, 2]),
    );
    const c = (await readNodeCases(folder)).find(({ id }) => id === 'norm');
    if (!c || !('node' in c)) throw new Error('norm was not read');
    const whole = { ...c, inputs: new Map([...c.inputs, [c.node.inputs[1]!, tensor('float32', [2], [2, 2])]]) };
    expect(await conform(whole, await deviceOf('portable-18'))).toMatchObject({
      result: 'passed',
      ways: { evaluate: true, decompose: true, runtime: true },
    });
  });

  it('fails a damaged case and continues', async () => {
    await mkdir(join(folder, 'cut'));
    await writeFile(join(folder, 'cut', 'model.onnx'), Uint8Array.of(0x3a, 0xff, 0x01));
    const device = await deviceOf('cpu');
    const outcomes = await Promise.all((await readNodeCases(folder)).map((c) => conform(c, device)));
    expect(outcomes.find(({ id }) => id === 'cut')).toMatchObject({ result: 'failed', note: expect.stringMatching(/./) });
    expect(outcomes.find(({ id }) => id === 'softmax')).toMatchObject({ result: 'passed' });
    await rm(join(folder, 'cut'), { recursive: true });
    await save('no_output', (v) => ops.softmax(v), x, y);
    await rm(join(folder, 'no_output', 'test_data_set_0', 'output_0.pb'));
    await save('no_model', (v) => ops.softmax(v), x, y);
    await rm(join(folder, 'no_model', 'model.onnx'));
    const read = await readNodeCases(folder);
    const damaged = await Promise.all(read.filter(({ id }) => id.startsWith('no_')).map((c) => conform(c, device)));
    expect(damaged.map(({ id, result, note }) => [id, result, note])).toEqual([
      ['no_model', 'failed', 'no model.onnx'],
      ['no_output', 'failed', 'no test_data_set_0/output_0.pb'],
    ]);
    for (const id of ['no_output', 'no_model']) await rm(join(folder, id), { recursive: true });
  });

  it('must contain a case', async () => {
    await expect(readNodeCases(join(folder, 'empty'))).rejects.toThrow(FileError);
    await expect(readNodeCases(join(folder, 'nowhere'))).rejects.toThrow(/cannot be read/);
  });
});
