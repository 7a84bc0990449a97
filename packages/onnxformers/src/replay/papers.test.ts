// Where the original deviates from a paper, some records have the paper's result too: that of our block without `compat`.
import { fileURLToPath } from 'node:url';
import { type AnyModule, interpret, namesOf, type Tensor, toArray } from '@onnxformers/core';
import { expectClose, traceBlock } from '@onnxformers/core/testing';
import { describe, expect, it } from 'vitest';
import { fromXFormers } from '../import/xformers/index';
import { zoo } from '../index';
import { type FixtureCase, readFixtures } from './fixture-set';

const cases = (await readFixtures(fileURLToPath(new URL('../../fixtures/xformers', import.meta.url)))).filter(
  (c): c is FixtureCase => 'ref' in c && ['paper', 'causal_paper'].some((name) => c.ref.has(name)),
);

describe('results of the papers', () => {
  it('are in records of two blocks', () => {
    expect([...new Set(cases.map(({ block }) => block))].sort()).toEqual(['favor', 'lambda']);
  });

  it.each(cases.map((c) => [c.id, c] as const))('%s', (_, c) => {
    const config = { headDim: c.in.get('q')!.dims.at(-1), ...fromXFormers(c.config).config };
    const m = zoo.parse('attention', config) as unknown as AnyModule;
    const heads = (t: Tensor) => ({ ...toArray(t), dims: [t.dims[0]!, 1, ...t.dims.slice(1)] });
    const feeds = Object.fromEntries(['q', 'k', 'v'].map((name) => [name, heads(c.in.get(name)!)]));
    const graph = traceBlock(m, Object.fromEntries(Object.entries(feeds).map(([name, { dims }]) => [name, ['float32', dims]])));
    const weights = new Map([...c.param, ...c.state].map(([name, t]) => [name, toArray(t)]));
    const { nameOf } = namesOf(m);
    const { y } = interpret(graph, feeds, { parameters: (p) => weights.get(nameOf.get(p)!)! });
    const paper = c.ref.get('paper') ?? c.ref.get('causal_paper')!;
    expectClose({ ...y!, dims: paper.dims }, toArray(paper), { rtol: 0, atol: c.atol });
  });
});
