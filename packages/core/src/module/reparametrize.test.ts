// Parametrizations in graphs with branches and loops.
import { expect, it } from 'vitest';
import { interpret } from '../interpret/interpret';
import { type Graph, subgraphsOf, type Value } from '../ir/graph';
import { cond, loop } from '../ops/control';
import { add, mul } from '../ops/elementwise';
import { GraphBuilder } from '../ops/vocabulary';
import { values } from '../parameter/init';
import { Parameter } from '../parameter/parameter';
import { tensor, toArray } from '../tensor/convert';
import type { Tensor } from '../tensor/tensor';
import { module } from './module';
import { reparametrize } from './reparametrize';

const scale = new Parameter([3], values(tensor('float32', [3], [2, 3, 5])));
const factor = new Parameter([3], values(tensor('float32', [3], [7, 11, 13])));

/** y made by a forward function whose `scale` is made of itself and `factor`. */
function traced(forward: (x: Value, yes: Value) => Value): { readonly graph: Graph; made(): number } {
  const g = new GraphBuilder();
  let made = 0;
  const m = reparametrize(
    module({ scale }, (x: Value, yes: Value) => forward(x, yes)),
    () => ({
      parameters: { factor },
      value: (weight, g) => {
        made++;
        return mul(weight(), g.param(factor));
      },
    }),
  );
  g.output('y', m(g.input('x', 'float32', ['n', 3]), g.input('yes', 'bool', [])));
  return { graph: g.finish(), made: () => made };
}
const run = (graph: Graph, yes: boolean): number[] => {
  const parameters = ({ init }: Parameter) => toArray((init as { tensor: Tensor }).tensor);
  const feeds = { x: tensor('float32', [1, 3], [1, 10, 100]), yes: tensor('bool', [], [yes ? 1 : 0]) };
  return [...interpret(graph, { x: toArray(feeds.x), yes: toArray(feeds.yes) }, { parameters }).y!.data];
};
const muls = (graph: Graph): number => graph.nodes.filter((n) => n.op.key === 'Mul').length;

it('used in a branch first and then outside, it is computed in both', () => {
  const { graph, made } = traced((x, yes) => {
    const [inside] = cond(
      yes,
      () => [add(x, scale)],
      () => [x],
    );
    return add(inside!, scale);
  });
  expect(run(graph, true)).toEqual([1 + 28, 10 + 66, 100 + 130]);
  expect(run(graph, false)).toEqual([1 + 14, 10 + 33, 100 + 65]);
  expect([made(), muls(graph)]).toEqual([2, 1]);
});

it('used in both branches and nowhere else, it is computed in each', () => {
  const { graph } = traced(
    (x, yes) =>
      cond(
        yes,
        () => [add(x, scale)],
        () => [mul(x, scale)],
      )[0]!,
  );
  expect(run(graph, true)).toEqual([1 + 14, 10 + 33, 100 + 65]);
  expect(run(graph, false)).toEqual([14, 330, 6500]);
  expect(muls(graph)).toBe(0);
});

it('used outside first, it is made once', () => {
  const { graph, made } = traced((x, yes) => {
    const before = add(x, scale);
    return cond(
      yes,
      () => [add(before, scale)],
      () => [before],
    )[0]!;
  });
  expect(run(graph, true)).toEqual([1 + 28, 10 + 66, 100 + 130]);
  expect([made(), muls(graph)]).toEqual([1, 1]);
});

it('used in a loop first and then outside, it is made once, outside', () => {
  const { graph, made } = traced((x) => {
    const g = x.graph.root;
    const { carried } = loop(g, {
      trips: g.number(2, 'int64'),
      count: 2,
      carried: [x],
      body: (_, y) => ({ carried: [add(y!, scale)] }),
    });
    return add(carried[0]!, scale);
  });
  expect(run(graph, true)).toEqual([1 + 42, 10 + 99, 100 + 195]);
  const body = graph.nodes.flatMap((n) => subgraphsOf(n).map(([, b]) => b))[0]!;
  expect([made(), muls(graph), muls(body)]).toEqual([1, 1, 0]);
});

it('used in a branch of a loop first, then in the loop, then outside', () => {
  const { graph } = traced((x, yes) => {
    const g = x.graph.root;
    const { carried } = loop(g, {
      trips: g.number(2, 'int64'),
      count: 2,
      carried: [x],
      body: (_, y) => ({
        carried: [
          add(
            cond(
              yes,
              () => [add(y!, scale)],
              () => [y!],
            )[0]!,
            scale,
          ),
        ],
      }),
    });
    return add(carried[0]!, scale);
  });
  expect(run(graph, true)).toEqual([1 + 14 * 5, 10 + 33 * 5, 100 + 65 * 5]);
  expect(run(graph, false)).toEqual([1 + 14 * 3, 10 + 33 * 3, 100 + 65 * 3]);
});
