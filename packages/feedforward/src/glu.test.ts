import { namesOf, registry } from '@onnxformers/core';
import { expectClose, randomArray, runBlock, traceBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { glu } from './glu';
import { blocks, squaredRelu } from './index';
import { mapRow, perRow } from './plain.test-helper';

const silu = (v: number) => v / (1 + Math.exp(-v));
const squared = (v: number) => Math.max(v, 0) ** 2;

describe('glu', () => {
  it.each([
    [{ dim: 5 }, silu],
    [{ dim: 5, hidden: 11, outDim: 3, bias: false }, silu],
    [{ dim: 5, hidden: 7, activation: squaredRelu({}) }, squared],
  ] as const)('of %o is what plain loops give', (config, f) => {
    const x = randomArray('x', [2, 3, 5]);
    const { outputs, parameters: p } = runBlock(glu(config), { x });
    const expected = perRow(x, (row) => {
      const gate = mapRow(row, p['gate_proj.weight']!, p['gate_proj.bias']).map(f);
      const up = mapRow(row, p['up_proj.weight']!, p['up_proj.bias']);
      return mapRow(
        gate.map((v, i) => v * up[i]!),
        p['down_proj.weight']!,
        p['down_proj.bias'],
      );
    });
    expectClose(outputs.y!, expected);
  });

  it.each([true, false])('packed, the gate is first in the weight (bias: %s)', (bias) => {
    const x = randomArray('x', [3, 5]);
    const { outputs, parameters: p } = runBlock(glu({ dim: 5, hidden: 7, packed: true, bias }), { x });
    expect(Object.fromEntries(Object.entries(p).map(([name, { dims }]) => [name, dims]))).toEqual({
      'gate_up_proj.weight': [14, 5],
      ...(bias && { 'gate_up_proj.bias': [14] }),
      'down_proj.weight': [5, 7],
      ...(bias && { 'down_proj.bias': [5] }),
    });
    const expected = perRow(x, (row) => {
      const both = mapRow(row, p['gate_up_proj.weight']!, p['gate_up_proj.bias']);
      return mapRow(
        both.slice(0, 7).map((v, i) => silu(v) * both[7 + i]!),
        p['down_proj.weight']!,
        p['down_proj.bias'],
      );
    });
    expectClose(outputs.y!, expected);
  });

  it('packed, works on slices of the weight, not of the result', () => {
    const { nodes } = traceBlock(glu({ dim: 5, hidden: 7, packed: true, bias: false }), { x: ['float32', ['n', 5]] });
    const slices = nodes.filter((n) => n.op.key.endsWith('Slice'));
    expect(slices.map((n) => n.operands[0]!.leaf?.kind)).toEqual(['parameter', 'parameter']);
    expect(nodes.filter((n) => n.op.key === 'onnxformers.Linear')).toHaveLength(3);
  });

  it('names its parameters gate_proj, up_proj and down_proj', () => {
    const names = [...namesOf(glu({ dim: 6, bias: false })).parameters].map(([name, p]) => `${name} ${p.dims}`);
    expect(names).toEqual(['gate_proj.weight 16,6', 'up_proj.weight 16,6', 'down_proj.weight 6,16']);
  });

  it('is built from a config, activations by name', () => {
    const zoo = registry(...blocks);
    const block = zoo.build('feedforward', { name: 'glu', dim: 6, activation: 'gelu' });
    expect(zoo.toJSON(block)).toMatchObject({ name: 'glu', dim: 6, hidden: 16, activation: { name: 'gelu' } });
  });
});
