import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { interpret } from '../interpret/interpret';
import type { TensorType } from '../ir/define-op';
import type { Derivation } from '../ir/graph';
import { add } from '../ops/elementwise';
import { GraphBuilder } from '../ops/vocabulary';
import type { NDArray } from '../tensor/tensor';
import { computeDerived, derive } from './derive';

const int64 = (values: readonly number[]): NDArray => ({
  dtype: 'int64',
  dims: [values.length],
  data: Float64Array.from(values),
});
const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
const types: Partial<Record<Derivation, TensorType>> = {
  offsets: { dtype: 'int64', dims: ['batch + 1'] },
  longest: { dtype: 'int64', dims: [] },
  positions: { dtype: 'int64', dims: ['tokens'] },
  tokenOffset: { dtype: 'int32', dims: ['batch', 'longest'] },
};
const computed = (how: Derivation, lengths: readonly number[], plus = 0) => {
  const known: Record<string, number> = { batch: lengths.length, 'batch + 1': lengths.length + 1, tokens: sum(lengths) };
  const sizes = (d: number | string): number => (typeof d === 'number' ? d : known[d]!);
  return computeDerived(how, [int64(lengths)], sizes, types[how]!, plus)!;
};

describe('what the runner computes', () => {
  it('offsets, longest and positions', () => {
    expect(Array.from(computed('offsets', [4, 0, 3]).data)).toEqual([0, 4, 4, 7]);
    expect(Array.from(computed('longest', [4, 0, 3], 2).data)).toEqual([6]);
    expect(Array.from(computed('positions', [4, 0, 3]).data)).toEqual([0, 1, 2, 3, 0, 1, 2]);
  });
  it('places of tokens in a padded batch, whose width only the lengths determine', () => {
    const places = computed('tokenOffset', [4, 0, 3]);
    expect(places.dims).toEqual([3, 4]);
    expect(Array.from(places.data)).toEqual([0, 1, 2, 3, 8, 9, 10, 4, 5, 6, 7, 11]);
  });
  it('indices are complete, tokens first', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(7), { minLength: 1, maxLength: 5 }), (lengths) => {
        const { data, dims } = computed('tokenOffset', lengths);
        const width = dims[1]!;
        expect([...data].sort((a, b) => a - b)).toEqual(Array.from({ length: lengths.length * width }, (_, i) => i));
        const real = [...data].slice(0, sum(lengths));
        expect(real).toEqual(lengths.flatMap((n, b) => Array.from({ length: n }, (_, i) => b * width + i)));
      }),
    );
  });
});

describe('the same by ops, if the lengths are not an input', () => {
  it.each(['offsets', 'longest', 'positions'] as const)('%s', (how) => {
    const lengths = [4, 0, 3];
    const g = new GraphBuilder();
    g.input('x', 'float32', ['tokens']);
    const given = g.input('lengths', 'int64', ['batch']);
    const plus = how === 'longest' ? 2 : 0;
    g.output('y', derive(g, how, types[how]!, [add(given, g.input('zero', 'int64', []))], plus));
    const zeros = { dtype: 'float32', dims: [7], data: new Float64Array(7) } as const;
    const { y } = interpret(g.finish(), {
      x: zeros,
      lengths: int64(lengths),
      zero: { dtype: 'int64', dims: [], data: Float64Array.of(0) },
    });
    expect(Array.from(y!.data)).toEqual(Array.from(computed(how, lengths, plus).data));
  });
  it('except for values whose size depends on data', () => {
    const g = new GraphBuilder();
    const lengths = g.input('lengths', 'int64', ['batch']);
    expect(() => derive(g, 'tokenOffset', types.tokenOffset!, [add(lengths, lengths)])).toThrow(
      /tokenOffset cannot be computed inside a graph/,
    );
  });
});
