import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { interpret } from '../interpret/interpret';
import type { Value } from '../ir/graph';
import { module } from '../module/module';
import { loop } from '../ops/control';
import { add, mul } from '../ops/elementwise';
import { GraphBuilder } from '../ops/vocabulary';
import { createRunner } from '../runtime/runner';
import { cpu } from '../targets/cpu';
import { portable } from '../targets/portable';
import { tensor, toArray } from '../tensor/convert';
import type { NDArray } from '../tensor/tensor';
import { compile } from './compile';
import { seededDraws } from './draws';

const [outer, inner, count] = [5, 3, 7];

// [outer, inner, count], drawn in a loop within a loop; and [outer, count], drawn in the outer one alone.
function nested(g: GraphBuilder, x: Value): { deep: Value; flat: Value } {
  const trips = (n: number) => ({ trips: g.number(n, 'int64'), count: n });
  const { scans } = loop(g, {
    ...trips(outer),
    carried: [x],
    body(_, last) {
      const within = loop(g, {
        ...trips(inner),
        carried: [last!],
        body: (__, kept) => ({ carried: [kept!], scans: [add(g.draw('deep', [count], 'uniform'), mul(kept!, 0))] }),
      });
      return { carried: [last!], scans: [within.scans[0]!, add(g.draw('flat', [count], 'uniform'), mul(last!, 0))] };
    },
  });
  return { deep: scans[0]!, flat: scans[1]! };
}
const x: NDArray = { dtype: 'float32', dims: [], data: Float64Array.of(1) };
const rows = ({ data, dims }: NDArray): string[] => {
  const width = dims.at(-1)!;
  return Array.from({ length: data.length / width }, (_, i) => data.subarray(i * width, (i + 1) * width).join());
};

function interpreted(seed: number, run: number): { readonly deep: NDArray; readonly flat: NDArray } {
  const g = new GraphBuilder({ draws: seededDraws(seed) });
  const { deep, flat } = nested(g, g.input('x', 'float32', []));
  g.output('deep', deep);
  g.output('flat', flat);
  return interpret(g.finish(), { x, run: { dtype: 'int64', dims: [], data: Float64Array.of(run) } }) as never;
}

describe('draws in a loop, from a seed', () => {
  it('are new in every step of every loop, and the same again', () => {
    const { deep, flat } = interpreted(1, 0);
    const all = [...rows(deep), ...rows(flat), ...rows(interpreted(1, 1).deep), ...rows(interpreted(2, 0).deep)];
    expect(all).toHaveLength(3 * outer * inner + outer);
    expect(new Set(all).size).toBe(all.length);
    expect(interpreted(1, 0)).toEqual({ deep, flat });
  });

  it.each([cpu, portable(18)])('have the bits of the interpreter on $name', async (target) => {
    const m = module({}, (inputs: Record<string, Value>) => ({ ...nested(inputs.x!.graph.root, inputs.x!) }));
    const model = compile(m, { target, inputs: { x: ['float32', []] }, draws: { seed: 11 }, weights: new Map() });
    const runner = await createRunner(model, ort);
    for (const run of [0, 1]) {
      const got = await runner({ x: tensor('float32', [], [1]) });
      const expected = interpreted(11, run);
      expect(toArray(got.deep!).data).toEqual(expected.deep.data);
      expect(toArray(got.flat!).data).toEqual(expected.flat.data);
    }
  });

  it('are uniform over the steps', () => {
    const g = new GraphBuilder({ draws: seededDraws(3) });
    const steps = 4000;
    const body = () => ({ carried: [], scans: [g.draw('noise', [2], 'uniform')] });
    g.output('y', loop(g, { trips: g.number(steps, 'int64'), count: steps, carried: [], body }).scans[0]!);
    const { data } = interpret(g.finish(), { run: { dtype: 'int64', dims: [], data: Float64Array.of(0) } }).y!;
    const first = data.filter((_, i) => i % 2 === 0);
    const mean = first.reduce((a, b) => a + b, 0) / steps;
    const follow = first.subarray(1).reduce((sum, v, i) => sum + (v - 0.5) * (first[i]! - 0.5), 0) / (steps - 1);
    expect(Math.abs(mean - 0.5)).toBeLessThan(4 * Math.sqrt(1 / 12 / steps));
    expect(Math.abs(follow)).toBeLessThan(4 / 12 / Math.sqrt(steps));
  });
});

describe('draws in a loop, as inputs', () => {
  it('have an axis for every loop and are read step by step', () => {
    const g = new GraphBuilder();
    const { deep, flat } = nested(g, g.input('x', 'float32', []));
    g.output('deep', deep);
    g.output('flat', flat);
    const graph = g.finish();
    expect(graph.inputs.filter((v) => v.leaf?.kind === 'draw').map((v) => v.dims)).toEqual([
      [outer, inner, count],
      [outer, count],
    ]);
    const drawn = (...dims: number[]): NDArray => ({
      dtype: 'float32',
      dims,
      data: Float64Array.from({ length: dims.reduce((a, b) => a * b) }, (_, i) => i),
    });
    const feeds = { x, deep: drawn(outer, inner, count), flat: drawn(outer, count) };
    expect(interpret(graph, feeds)).toEqual({ deep: feeds.deep, flat: feeds.flat });
  });

  it('ask how often the loop runs', () => {
    const g = new GraphBuilder();
    const scalar = { dtype: 'int64', dims: [] } as const;
    expect(() => g.subgraph('loop', [scalar], () => [g.draw('noise', [2], 'uniform')])).toThrow(
      'noise: a draw in a loop whose number of steps is not known. Create the loop with ops.loop, or pass a seed to make the draws',
    );
  });
});
