import { describe, expect, it } from 'vitest';
import { interpret } from '../interpret/interpret';
import { subgraphsOf, type Value } from '../ir/graph';
import { cond } from '../ops/control';
import { add, cos, mul } from '../ops/elementwise';
import { expand, reshape } from '../ops/movement';
import { iota } from '../ops/shape';
import { GraphBuilder } from '../ops/vocabulary';
import { portable } from '../targets/portable';
import { expectClose, randomArray } from '../testing';
import { lower } from './lower';

const lowered = (build: (g: GraphBuilder) => Value) => {
  const g = new GraphBuilder();
  g.output('y', build(g));
  const traced = g.finish();
  return { traced, graph: lower(traced, portable()).graph };
};
const angles = (g: GraphBuilder, rows: number | string) =>
  mul(reshape(iota(g, rows, 'float32'), [rows, 1]), g.number([1, 0.5, 0.25], 'float32'));

describe('what depends on constants alone', () => {
  it('is a constant, with the numbers that a run would make', () => {
    const { traced, graph } = lowered((g) => add(g.input('x', 'float32', ['n', 67, 3]), cos(angles(g, 67))));
    expect(graph.nodes.map((n) => n.op.key)).toEqual(['Add']);
    const table = graph.nodes[0]!.operands[1]!;
    expect([table.leaf?.kind, table.dtype, table.dims]).toEqual(['constant', 'float32', [67, 3]]);
    const feeds = { x: randomArray('x', [2, 67, 3]) };
    expectClose(interpret(graph, feeds).y!, interpret(traced, feeds).y!, { atol: 1e-6 });
  });
  it('is computed at run time if a size is known only then', () => {
    const { graph } = lowered((g) => add(g.input('x', 'float32', ['n', 'seq', 3]), cos(angles(g, 'seq'))));
    expect(graph.nodes.map((n) => n.op.key)).toContain('Cos');
  });
  it('is computed at run time if it is large; its operands are folded', () => {
    const { graph } = lowered((g) => {
      const x = g.input('x', 'float32', ['n', 512, 1024]);
      return add(x, expand(cos(reshape(iota(g, 1024, 'float32'), [1, 1024])), [512, 1024]));
    });
    expect(graph.nodes.map((n) => n.op.key).sort()).toEqual(['Add', 'Expand']);
  });
  it('in a branch as well', () => {
    const { traced, graph } = lowered((g) => {
      const x = g.input('x', 'float32', [67, 3]);
      const yes = () => [add(x, cos(angles(g, 67)))];
      return cond(g.input('c', 'bool', []), yes, () => [x])[0]!;
    });
    const [branches] = graph.nodes.map((n) => subgraphsOf(n).map(([, sub]) => sub.nodes.map((inner) => inner.op.key)));
    expect(branches).toEqual([['Add'], ['Identity']]);
    const feeds = { x: randomArray('x', [67, 3]), c: { dtype: 'bool', dims: [], data: Float64Array.of(1) } } as const;
    expectClose(interpret(graph, feeds).y!, interpret(traced, feeds).y!, { atol: 1e-6 });
  });
});
