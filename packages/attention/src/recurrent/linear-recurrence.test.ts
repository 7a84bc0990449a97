// The definitions of the recurrent ops against plain loops, with gradients; and their kernels.
import {
  compile,
  createRunner,
  type Graph,
  type GraphBuilder,
  interpret,
  module,
  type Node,
  type Ort,
  targets,
  toTensor,
  type Value,
} from '@onnxformers/core';
import { subgraphsOf } from '@onnxformers/core/lowering';
import { checkOp, expectClose, type OpCase, prepare } from '@onnxformers/core/testing';
import * as node from 'onnxruntime-node';
import * as web from 'onnxruntime-web';
import { describe, expect, it } from 'vitest';
import { useCausalConvWithState } from '../kernels/causal-conv-with-state';
import { recurrenceRules } from '../kernels/linear-attention';
import { carry } from './carry';
import { casesOver, knownCasesOver } from './recurrence-cases.test-helper';
import { unitLowerInverse } from './unit-lower-inverse';

web.env.wasm.numThreads = 1;
const float = (...dims: readonly (number | string)[]) => ({ dtype: 'float32', dims }) as const;
const named = (cases: readonly OpCase[]) => cases.map((c) => [c.name, c] as const);

describe('a recurrent op', () => {
  it.each(named([...knownCasesOver(1), ...knownCasesOver(5)]))('%s, and its gradients', (_, c) => checkOp(c));

  // Exactly one chunk of 64, and more than two.
  it.each(named([...casesOver(64, 1), ...casesOver(131, 1)]))('%s is defined in chunks', (_, c) => {
    const { graph, sizes, feeds } = prepare(c);
    const [expected, got] = [interpret(graph, feeds, { sizes }), interpret(graph, feeds, { sizes, prefer: 'decompose' })];
    for (const name of Object.keys(expected)) expectClose(got[name]!, expected[name]!, { atol: 1e-11, rtol: 1e-11 }, name);
  });
});

it.each([1, 5, 8])('the inverse of triangular matrices with %i rows, and its gradient', (rows) => {
  checkOp({
    name: 'inverse',
    inputs: [float('batch', rows, rows)],
    build: (_, x) => unitLowerInverse(x!),
    sizes: { batch: 3 },
  });
});

describe('a recurrence from chunk to chunk', () => {
  const of = (by: 'elements' | 'matrix', ...factor: readonly number[]): OpCase => ({
    name: `by ${by} ${factor}`,
    inputs: [{ ...float('steps', ...factor), low: -0.9, high: 0.9 }, float('steps', 2, 3, 5), float(1, 2, 3, 5)],
    build: (_, a, u, h) => carry(a!, u!, h!, by),
    sizes: { steps: 7 },
  });
  const cases = [of('elements', 1, 1, 1), of('elements', 2, 3, 1), of('matrix', 2, 3, 3)];
  it.each(named(cases))('%s, and its gradients', (_, c) => checkOp(c));
  it.each(named(cases))('%s of one step needs no loop', (_, c) => {
    checkOp({ ...c, sizes: { steps: 1 } });
  });
});

// Two hundred products of numbers below 1, and their roundings.
const tolerance = { atol: 5e-6, rtol: 5e-6 };

const nodesWithin = (graph: Graph): readonly Node[] =>
  graph.nodes.flatMap((n) => [n, ...subgraphsOf(n).flatMap(([, sub]) => nodesWithin(sub))]);
/** As on a GPU: no step of a Loop is cheap. */
const waiting = <T extends object>(target: T) => ({ ...target, waitsInLoops: true as const });
const symbolic = [...casesOver(1), ...casesOver(131)];
/** The carried state is multiplied by numbers, and by matrices. */
const withState = (cases: readonly OpCase[]) => cases.filter(({ name }) => /decay|gated/.test(name));

describe.each([
  ['cpu', targets.cpu, node, true, symbolic],
  ['wasm', targets.wasm, web, true, symbolic],
  ['portable', targets.portable(23), node, false, symbolic],
  [
    'portable, where loops wait',
    waiting(targets.portable(23)),
    node,
    false,
    withState([...casesOver(131), ...knownCasesOver(331)]),
  ],
  ['cpu, where loops wait', waiting(targets.cpu), node, true, withState([...casesOver(131), ...casesOver(577)])],
] as const)('on %s', (_, target, runtime, fused, cases) => {
  it.each(named(cases))('%s', async (_, c) => {
    const { graph, sizes, feeds } = prepare(c);
    const inputs = Object.fromEntries(c.inputs.map(({ dtype, dims }, i) => [`x${i}`, [dtype, dims, 'data'] as const]));
    const model = compile(
      module({}, (x: Readonly<Record<string, Value>>) => {
        const results = c.build(x.x0!.graph.root as GraphBuilder, ...c.inputs.map((_, i) => x[`x${i}`]!));
        return Object.fromEntries((results as readonly Value[]).map((y, i) => [`y${i}`, y]));
      }),
      { target, inputs, rules: [...recurrenceRules, useCausalConvWithState] },
    );
    const kernels = nodesWithin(model.graph).filter(({ op }) => /LinearAttention|CausalConvWithState/.test(op.key));
    expect(kernels.length).toBe(fused ? 1 : 0);
    const run = await createRunner(model, runtime as unknown as Ort);
    const got = await run(Object.fromEntries(Object.entries(feeds).map(([name, x]) => [name, toTensor(x)])));
    const expected = interpret(graph, feeds, { sizes });
    for (const name of Object.keys(expected)) expectClose(got[name]!, expected[name]!, tolerance, name);
    await run.dispose();
  });
});
