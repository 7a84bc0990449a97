import { describe, expect, it } from 'vitest';
import { contextOf } from './compile-context';
import type { Dim } from './dim';
import { GraphBuilder } from './graph';
import type { DType } from './tensor';

type Inputs = readonly (readonly [name: string, dtype: DType, dims: readonly Dim[]])[];

const about: Inputs = [
  ['mask', 'bool', [1, 1, 'rows', 'columns']],
  ['bias', 'float32', [1, 3, 'rows', 'columns']],
  ['memory', 'float32', ['others', 'memory_seq', 5]],
  ['memory_mask', 'bool', ['others', 'memory_seq']],
  ['lengths', 'int64', ['batch']],
];

describe('the sizes of a call', () => {
  it.each([
    ['x', 'float32', ['batch', 'seq', 7]],
    ['ids', 'int64', ['batch', 'seq']],
    ['q', 'float32', ['batch', 3, 'seq', 5]],
  ] as const)('are those of %s, wherever it stands among the inputs', (...rows) => {
    for (let at = 0; at <= about.length; at++) {
      const g = new GraphBuilder();
      const inputs = about.toSpliced(at, 0, rows).map(([name, dtype, dims]) => [name, g.input(name, dtype, dims)] as const);
      const { positions } = contextOf(g, Object.fromEntries(inputs), { layout: 'padded' });
      expect(positions.dims).toEqual(['batch', 'seq']);
    }
  });

  it('are those of the rows in a packed batch', () => {
    for (const names of [
      ['lengths', 'position_ids', 'x'],
      ['position_ids', 'x', 'lengths'],
    ]) {
      const g = new GraphBuilder();
      const types: Record<string, readonly [DType, readonly Dim[]]> = {
        lengths: ['int64', ['batch']],
        position_ids: ['int64', ['places']],
        x: ['float32', ['tokens', 7]],
      };
      const inputs = Object.fromEntries(names.map((name) => [name, g.input(name, ...types[name]!)]));
      const { layout } = contextOf(g, inputs, { layout: 'packed' });
      expect(layout.kind).toBe('packed');
    }
  });
});
