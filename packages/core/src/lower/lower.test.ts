import { describe, expect, it } from 'vitest';
import type { Node, Value } from '../ir/graph';
import { module } from '../module/module';
import * as ops from '../ops/index';
import { GraphBuilder } from '../ops/vocabulary';
import { portable } from '../targets/portable';
import { lower } from './lower';
import { defineReasons } from './reason';
import { reasons } from './reasons';
import { type Match, type Outcome, type Rule, refuse, rule } from './rule';

const own = defineReasons({ odd: ({ got }: { readonly got: number }) => `${got} is odd` });
const costs: Readonly<Record<string, number>> = { Relu: 3, Sigmoid: 3, Tanh: 2, Exp: 5 };
const plain = portable(18);
const target = {
  ...plain,
  kernels: {
    ...Object.fromEntries(Object.entries(plain.kernels).map(([key, k]) => [key, { ...k, cost: () => costs[key] ?? 0 }])),
    Abs: { dtypes: [] },
  },
};
type Unary = (x: Value) => Value;
const match = (node: Node, f: Unary, more: Partial<Match> = {}): Match => ({
  covers: node.outputs,
  emit: (get) => [f(get(node.operands[0]!))],
  ...more,
});
const to = (name: string, outcome: (node: Node) => Outcome): Rule => rule(name, ops.Abs, outcome as never);

function lowered(rules: readonly Rule[], everywhere: readonly Rule[] = []) {
  const g = new GraphBuilder();
  const block = module({}, (x: Value) => ops.abs(x), { blockName: 'some', rules });
  g.output('y', block(g.input('x', 'float32', ['n', 3])));
  const { graph, decisions } = lower(g.finish(), target, { rules: everywhere });
  return { ops: graph.nodes.map((n) => n.op.key), decision: decisions.find((d) => d.op === 'Abs')! };
}

describe('of matches that overlap', () => {
  const relu = to('b', (node) => match(node, ops.relu));
  const sigmoid = to('a', (node) => match(node, ops.sigmoid));
  const exp = to('0', (node) => match(node, ops.exp));
  const tanhTwice = to('c', (node) => [match(node, ops.exp, { variant: 'dear' }), match(node, ops.tanh, { variant: 'cheap' })]);

  it('the cheapest is taken, whatever the order of rules', () => {
    for (const rules of [
      [relu, tanhTwice, exp],
      [exp, tanhTwice, relu],
      [tanhTwice, relu, exp],
    ]) {
      const { ops: made, decision } = lowered(rules);
      expect(made).toEqual(['Tanh']);
      expect([decision.chosen, decision.variant]).toEqual(['c', 'cheap']);
      const why = new Map(decision.refused.map((r) => [`${r.rule} ${r.variant ?? ''}`.trim(), r.reason]));
      expect(why.get('b')).toEqual(reasons.costsMore({ to: 'c cheap', cost: 3, against: 2 }));
      expect(why.get('c dear')).toEqual(reasons.costsMore({ to: 'c cheap', cost: 5, against: 2 }));
      expect([...why.keys()].sort()).toEqual(['0', 'b', 'c dear']);
    }
  });
  it('equal ones are ordered by the names of their rules', () => {
    for (const rules of [
      [relu, sigmoid],
      [sigmoid, relu],
    ]) {
      const { ops: made, decision } = lowered(rules);
      expect(made).toEqual(['Sigmoid']);
      expect(decision.refused).toEqual([{ rule: 'b', reason: reasons.lost({ to: 'a', by: 'order' }) }]);
    }
  });
  it('equal ones of a rule are taken in its order', () => {
    const both = to('r', (node) => [match(node, ops.relu, { variant: 'z' }), match(node, ops.sigmoid, { variant: 'y' })]);
    expect(lowered([both]).decision.variant).toBe('z');
  });
  it('one that absorbs more is taken before an equal one', () => {
    const absorbing = to('z', (node) => match(node, ops.relu, { absorbs: [node.operands[0]!] }));
    expect(lowered([relu, absorbing]).decision.chosen).toBe('z');
  });
});

describe('refusals', () => {
  it('are of one way or of the whole rule, with code, data and text', () => {
    const some = to('some', (node) => [refuse(own.odd({ got: 3 }), 'in pairs'), match(node, ops.relu)]);
    const whole = to('whole', () => refuse(own.odd({ got: 5 })));
    const { decision } = lowered([some, whole]);
    expect(decision).toMatchObject({ chosen: 'some', kernels: ['Relu'] });
    expect(decision.refused).toEqual([
      { rule: 'some', variant: 'in pairs', reason: { code: 'odd', data: { got: 3 }, text: '3 is odd' } },
      { rule: 'whole', reason: { code: 'odd', data: { got: 5 }, text: '5 is odd' } },
    ]);
    expect([own.odd.is(own.odd({ got: 1 })), own.odd.is(reasons.headCountsUnknown())]).toEqual([true, false]);
  });
  it('name what the target lacks', () => {
    const cosine = to('cosine', (node) => match(node, (x) => ops.abs(ops.cos(x))));
    const { decision } = lowered([cosine, to('relu', (node) => match(node, ops.relu))]);
    expect(decision.refused).toEqual([
      { rule: 'cosine', reason: reasons.noDtype({ op: 'Abs', dtype: 'float32', target: 'portable-18' }) },
    ]);
  });
});

describe('rules', () => {
  const relu = to('relu', (node) => match(node, ops.relu));
  const traced = (build: (x: Value) => Value): readonly string[] => {
    const g = new GraphBuilder();
    g.output('y', build(g.input('x', 'float32', ['n', 3])));
    return lower(g.finish(), target).graph.nodes.map((n) => n.op.key);
  };
  const helper = module({}, (x: Value) => ops.abs(x));
  const around = (inner: typeof helper) => module({ inner }, (x: Value) => inner(x), { blockName: 'around', rules: [relu] });

  it('apply to helpers in a block', () => expect(traced(around(helper))).toEqual(['Relu']));
  it('do not apply to blocks in its slots, or to other blocks', () => {
    const other = module({}, (x: Value) => ops.abs(x), { blockName: 'other' });
    expect(() => traced(around(other))).toThrow('Abs of float32 cannot run on portable-18');
    const both = module({ a: around(helper), helper }, (x: Value) => ops.add(around(helper)(x), ops.abs(x)));
    expect(() => traced(both)).toThrow('Abs of float32 cannot run on portable-18');
  });
  it('of the caller apply everywhere', () => expect(lowered([], [relu]).ops).toEqual(['Relu']));
});
