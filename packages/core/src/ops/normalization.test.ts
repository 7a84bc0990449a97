import { describe, expect, it, test } from 'vitest';
import { checkOp } from '../testing';
import { groupNorm, LayerNormalization, layerNorm, RMSNormalization, rmsNorm } from './normalization';
import { cases } from './normalization.cases';
import { GraphBuilder } from './vocabulary';

test.each(cases.map((c) => [c.name, c] as const))('%s', (_, c) => checkOp(c));

describe('what does not fit is refused', () => {
  const g = new GraphBuilder();
  const x = g.input('x', 'float32', ['batch', 12, 17]);
  const input = (n: number) => g.input(`s${n}`, 'float32', [n]);
  const s16 = input(16);
  const s12 = input(12);

  it('scales and biases of another size', () => {
    expect(() => rmsNorm(x, s16)).toThrow('the scale does not fit the normalised axes; expected [17], got [16]');
    expect(() => layerNorm(x, input(17), s16)).toThrow('the bias does not fit the normalised axes; expected [17], got [16]');
    expect(() => layerNorm(x, g.input('wide', 'float32', [1, 1, 17]), undefined, { axis: 1 })).toThrow(
      'expected [12, 17], got [1, 1, 17]',
    );
    expect(() => groupNorm(x, s16, s12, { groups: 3 })).toThrow('the scale does not fit the channels; expected [12], got [16]');
  });
  it('groups that do not divide the channels, and no groups', () => {
    expect(() => groupNorm(x, s12, s12, { groups: 5 })).toThrow('expected a multiple of 5, got 12');
    expect(() => groupNorm(x, s12, s12, { groups: 0 })).toThrow('expected an integer >= 1, got 0');
    expect(() => groupNorm(s12, s12, s12, { groups: 3 })).toThrow('the operand has no channels');
  });
  it('other dtypes', () => {
    expect(() => rmsNorm(x, g.input('half', 'float16', [17]))).toThrow('the dtypes differ');
    expect(() => layerNorm(x, undefined)).toThrow('the operand scale is missing');
  });
  it('a missing axis', () => {
    expect(() => layerNorm(x, s12, undefined, { axis: 3 })).toThrow('there is no axis');
  });
});

it('counts the axis from the end, so that equal nodes are one', () => {
  const g = new GraphBuilder();
  const [x, s] = [g.input('x', 'float32', ['n', 5]), g.input('s', 'float32', [5])];
  expect(layerNorm(x, s, undefined, { axis: 1 })).toBe(layerNorm(x, s));
});

it.each([LayerNormalization, RMSNormalization])('$key computes 16-bit dtypes in float32 up to the scale', (op) => {
  const g = new GraphBuilder();
  const [x, s] = [g.input('x', 'float16', ['n', 5]), g.input('s', 'float16', [5])];
  g.output('y', op.decompose!([x, s], { axis: -1, epsilon: 1e-5, stash_type: 1 }, g.ops)[0]!);
  const { nodes } = g.finish();
  expect(nodes[0]!.op.key).toBe('Cast');
  expect(nodes.slice(-2).map((n) => [n.op.key, n.outputs[0]!.dtype])).toEqual([
    ['Cast', 'float16'],
    ['Mul', 'float16'],
  ]);
  const inside = nodes.slice(0, -2).map((n) => n.outputs[0]!.dtype);
  expect(new Set(inside)).toEqual(new Set(['float32']));
});
