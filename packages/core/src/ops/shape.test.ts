import { describe, expect, it } from 'vitest';
import type { Dim } from '../dim/dim';
import { interpret } from '../interpret/interpret';
import type { Value } from '../ir/graph';
import { checkOp } from '../testing/op-suite';
import { slice } from './movement';
import { fill, iota, refine, shapeOf, size, sizes } from './shape';
import { cases } from './shape.cases';
import { GraphBuilder } from './vocabulary';

describe('the op suite', () => {
  it.each(cases.map((c) => [c.name, c] as const))('%s', (_, c) => checkOp(c));
});

function keysOf(g: GraphBuilder, value: Value): string[] {
  g.output('y', value);
  return g.finish().nodes.map((node) => node.op.key);
}

describe('sizes', () => {
  it('are constants when known', () => {
    const g = new GraphBuilder();
    const x = g.input('x', 'float32', ['seq', 3]);
    for (const v of [sizes(g, [2, 3]), size(g, 5), shapeOf(x, 1), iota(g, 4), fill(g, [2, 2], 1, 'float32')])
      expect(v.leaf?.kind).toBe('constant');
  });
  it('of neighbouring axes are one Shape, neighbouring numbers one constant', () => {
    const g = new GraphBuilder();
    g.input('x', 'float32', ['batch', 'seq', 'dim']);
    const value = sizes(g, ['batch', 'seq', 2, 3, 'dim']);
    expect(value.producer!.operands.map((v) => v!.dims)).toEqual([[2], [2], [1]]);
    expect(keysOf(g, value)).toEqual(['Shape', 'Shape', 'Concat']);
  });
  it('of one value are its Shape', () => {
    const g = new GraphBuilder();
    const x = g.input('x', 'float32', [3, 'batch', 'seq']);
    expect(sizes(x, ['batch', 'seq'])).toBe(shapeOf(x, 1, 3));
  });
  it('are shared', () => {
    const g = new GraphBuilder();
    g.input('x', 'float32', ['batch', 'seq']);
    expect(size(g, 'batch*seq + 1')).toBe(size(g, 'seq*batch + 1'));
  });
  it('are read from a value near by when no input has them', () => {
    const g = new GraphBuilder();
    const x = g.input('x', 'float32', ['batch']);
    const y = g.state('y', 'float32', ['rows'], 0);
    expect(sizes(x, ['rows'], [y])).toBe(shapeOf(y, 0, 1));
    expect(() => sizes(x, ['rows'])).toThrow(
      'the size rows cannot be read at run time; expected the size of an axis of an input of the graph, got inputs float32[batch]. Declare an input',
    );
  });
  it('of a graph without inputs cannot be read', () => {
    expect(() => size(new GraphBuilder(), 'seq')).toThrow('got a graph without inputs');
  });
});

describe('refine', () => {
  const claim = (past: number, prefer: 'evaluate' | 'decompose') => {
    const g = new GraphBuilder();
    const x = g.input('x', 'float32', ['past', 3]);
    g.input('y', 'float32', ['seq']);
    g.output('z', refine(x, ['seq', 3]));
    const array = (...dims: number[]) => ({
      dtype: 'float32' as const,
      dims,
      data: new Float64Array(dims.reduce((a, b) => a * b, 1)),
    });
    return interpret(g.finish(), { x: array(past, 3), y: array(5) }, { prefer }).z!.dims;
  };
  it('passes a true claim', () => {
    expect(claim(5, 'evaluate')).toEqual([5, 3]);
    expect(claim(5, 'decompose')).toEqual([5, 3]);
  });
  it('fails on a false one', () => {
    expect(() => claim(7, 'evaluate')).toThrow(
      'the claimed sizes are not the actual sizes; expected [seq, 3] = [5,3], got [7,3]',
    );
    expect(() => claim(7, 'decompose')).toThrow(/Reshape.*the sizes do not fit.*\[-2,3\]/);
  });
  it('refuses what is known to be false', () => {
    const x = new GraphBuilder().input('x', 'float32', ['seq', 3]);
    expect(() => refine(x, ['seq', 5])).toThrow('axis 1 has another size; expected 3, got 5');
    expect(() => refine(x, ['seq'])).toThrow('a claim must name every axis; expected 2 sizes, got 1');
    expect(refine(x, ['seq', 3])).toBe(x);
  });
});

describe('folding', () => {
  it('does not fold a constant that is sliced at a symbolic index', () => {
    const g = new GraphBuilder();
    g.input('x', 'float32', ['past']);
    const table = g.number([2, 3, 5, 7], 'float32');
    const at = (start: Dim) => slice(table, { axes: [0], starts: [start], ends: ['past + 1'] });
    expect(at('past').dims).toEqual([1]);
    expect(at('past').leaf).toBeUndefined();
  });
});
