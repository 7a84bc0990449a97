import { describe, expect, expectTypeOf, it } from 'vitest';
import { add } from '../ops/elementwise';
import { Linear } from '../ops/matmul';
import { GraphBuilder } from '../ops/vocabulary';
import { apply } from './apply';
import type { Value } from './graph';
import { inOrder, labelled, type NamedOperands, operandOf, operandsOf, wrongOperands } from './operands';

const names = ['x', 'weight', 'bias?'] as const;

describe('operands by name', () => {
  it('are those in order, and the other way round', () => {
    expect(operandsOf(names, [1, 2])).toEqual({ x: 1, weight: 2, bias: undefined });
    expect(inOrder(names, { weight: 2, x: 1 })).toEqual([1, 2, undefined]);
    expect(inOrder(names, operandsOf(names, [1, 2, 3]))).toEqual([1, 2, 3]);
    expectTypeOf<NamedOperands<typeof names, number>['x']>().toEqualTypeOf<number>();
    expectTypeOf<NamedOperands<typeof names, number>['bias']>().toEqualTypeOf<number | undefined>();
    // @ts-expect-error a misspelt name
    operandsOf(names, [1, 2]).wieght;
  });

  it('of a node are found by its op alone, and an unknown name is an error', () => {
    const node = { op: Linear, operands: [1, 2, 3] };
    expect(operandOf(node, 'bias')).toBe(3);
    expect(operandOf({ op: Linear, operands: [1, 2] }, 'bias')).toBeUndefined();
    expect(() => operandOf(node, 'mask')).toThrow('onnxformers.Linear has no operand mask');
    expect(() => operandOf({ op: { key: 'Concat' }, operands: [1] }, 'x')).toThrow('Concat names no operands');
  });

  it('that are missing or superfluous are listed by name', () => {
    expect(wrongOperands(names, [1, 2])).toBeUndefined();
    expect(wrongOperands(names, [1, undefined, 3])?.problem).toBe('the operand weight is missing');
    expect(wrongOperands(names, [1, 2, 3, 4])?.problem).toBe('there are too many operands');
    expect(labelled(names, ['float32[3]', 'none'])).toBe('x float32[3], weight none');
    expect(labelled(undefined, ['float32[3]'])).toBe('float32[3]');
  });

  it('apply an op in either form, to one node', () => {
    const g = new GraphBuilder();
    const input = (name: string, ...dims: number[]): Value => g.input(name, 'float32', dims);
    const [x, weight, bias] = [input('x', 3, 5), input('weight', 7, 5), input('bias', 7)];
    const listed = apply(Linear, [x, weight, bias], {})[0]!;
    expect(apply(Linear, { bias, weight, x }, {})[0]).toBe(listed);
    expect(add(listed, 0).dims).toEqual([3, 7]);
    expect(() => apply(Linear, [x], {})).toThrow(
      'onnxformers.Linear: the operand weight is missing; expected x, weight, bias?, got 1. Operands: x float32[3, 5]',
    );
    expect(() => apply(Linear, [x, bias], {})).toThrow('Operands: x float32[3, 5], weight float32[7]');
  });
});
