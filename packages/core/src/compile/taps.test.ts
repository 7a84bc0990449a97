// Taps of values that a graph has more than once, or only in a branch or a loop.
import { describe, expect, it } from 'vitest';
import type { Value } from '../ir/graph';
import { none } from '../mask/none';
import { type AnyModule, module } from '../module/module';
import { greater } from '../ops/comparison';
import { cond, loop } from '../ops/control';
import { reduceSum } from '../ops/reduce';
import { attend } from '../sequence/context';
import { cpu } from '../targets/cpu';
import { compile } from './compile';

const dims = ['batch', 2, 'seq', 3] as const;
const attention = module({}, (x: Value) => attend(x, x, x, { mask: none }));
const of = (forward: (x: Value) => Value): AnyModule =>
  module({ attention }, ({ x }: Readonly<Record<string, Value>>) => ({ y: forward(x!) }));
const tapped = (m: AnyModule, ...taps: string[]) => compile(m, { target: cpu, inputs: { x: ['float32', dims, 'data'] }, taps });

describe('weights', () => {
  it('of an attention that runs once are an output', () => {
    const { signature } = tapped(of(attention), 'attention', 'attention.weights');
    expect(signature.outputs.slice(1)).toEqual([
      { name: 'attention', dtype: 'float32', dims: ['batch', 2, 'seq', 3] },
      { name: 'attention.weights', dtype: 'float32', dims: ['batch', 2, 'seq', 'seq'] },
    ]);
  });

  it('of a second call have its number', () => {
    const twice = of((x) => attention(attention(x)));
    const { signature } = tapped(twice, 'attention.weights', 'attention@2.weights');
    expect(signature.outputs.map(({ name }) => name)).toEqual(['y', 'attention.weights', 'attention@2.weights']);
    expect(() => tapped(twice, 'attention@3.weights')).toThrow(/Taps of weights: attention.weights, attention@2.weights/);
  });

  const inBranch = of(
    (x) =>
      cond(
        greater(reduceSum(x, [0, 1, 2, 3], { keepDims: false }), 0),
        () => [attention(x)],
        () => [x],
      )[0]!,
  );
  const inLoop = of(
    (x) =>
      loop(x.graph.root, {
        trips: x.graph.root.number(2, 'int64'),
        count: 2,
        carried: [x],
        body: (_, carried) => ({ carried: [attention(carried!)], scans: [] }),
      }).carried[0]!,
  );
  it.each([
    ['a branch', inBranch],
    ['a loop', inLoop],
  ])('in %s are refused, and so is the result of the module', (_, m) => {
    expect(() => tapped(m, 'attention.weights')).toThrow(
      /"attention.weights" is not one matrix.*No attention of this model has weights/s,
    );
    expect(() => tapped(m, 'attention')).toThrow(/"attention" runs in a branch or a loop/);
  });
});
