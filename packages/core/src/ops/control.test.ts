import { describe, expect, it, test } from 'vitest';
import { grad } from '../autodiff/grad';
import { checkOp } from '../testing';
import { loop } from './control';
import { cases } from './control.cases';
import { mul } from './elementwise';
import { reduceSum } from './reduce';
import { GraphBuilder } from './vocabulary';

test.each(cases.map((c) => [c.name, c] as const))('%s', (_, c) => checkOp(c));

it('a body is closed without a walk through what was computed before it, so that compilation takes time linear in the number of layers', () => {
  const g = new GraphBuilder();
  const x = g.input('x', 'float32', [5]);
  const early = mul(x, 3);
  const late = mul(mul(early, x), x);
  const { producer } = early;
  let visits = 0;
  Object.defineProperty(early, 'producer', {
    get: () => {
      visits++;
      return producer;
    },
  });
  const { carried } = loop(g, {
    trips: g.number(3, 'int64'),
    count: 3,
    carried: [x],
    body: (_, last) => ({ carried: [mul(last!, late)] }),
  });
  expect(visits).toBe(0);
  g.output('y', carried[0]!);
  expect(g.finish().nodes.map((n) => n.op.key)).toEqual(['Mul', 'Mul', 'Mul', 'Loop']);
  expect(visits).toBeGreaterThan(0);
});

describe('a gradient through a loop', () => {
  const through = (captured: boolean) => {
    const g = new GraphBuilder();
    const [x, y] = [g.input('x', 'float32', [5]), g.input('y', 'float32', [5])];
    const body = (_: unknown, last: typeof x) => ({ carried: [mul(last, y)] });
    const { carried } = loop(g, { trips: g.number(3, 'int64'), count: 3, carried: [x], body: body as never });
    return grad(reduceSum(carried[0]!, [0], { keepDims: false }), [captured ? y : x]);
  };
  it.each([false, true])('is refused with what to do, of what it carries and of what it captures: %s', (captured) => {
    expect(() => through(captured)).toThrow(/Loop: Loop has no derivative\. Unroll the loop/);
  });
});
