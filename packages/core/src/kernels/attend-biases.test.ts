import { describe, expect, it } from 'vitest';
import { grad } from '../autodiff/grad';
import { compile } from '../compile/compile';
import type { CompileOptions } from '../compile/compile-options';
import { initialize } from '../compile/initialize';
import { type Dim, evaluateDim } from '../dim/dim';
import { interpret } from '../interpret/interpret';
import { type Graph, nameOf, type Value } from '../ir/graph';
import { linear } from '../layers/linear';
import type { Target } from '../lower/target';
import { and, causal, keyLengths, keyStarts, type Mask, none, slidingWindow } from '../mask/index';
import { type AnyModule, module } from '../module/module';
import type { AttendOpOptions } from '../ops/attend-options';
import * as ops from '../ops/index';
import { scoreMod } from '../ops/score-mod';
import type { Parameter } from '../parameter/parameter';
import { maskOf, type SequenceContext } from '../sequence/context';
import { computeDerived } from '../sequence/derive';
import { mergeHeads, splitHeads } from '../sequence/layout';
import { targets } from '../targets/index';
import type { DType, NDArray } from '../tensor/tensor';
import { expectClose } from '../testing';
import { randomArray, randomParameters } from '../testing/run-block';
import { biasesOfAttend } from './attend-biases';

type Inputs = Readonly<Record<string, Value>>;
interface Case {
  readonly heads: number;
  readonly kvHeads: number;
  readonly outBias?: boolean;
  readonly valueWidth?: number;
  readonly out?: number;
  readonly inputs: CompileOptions['inputs'];
  readonly options?: Partial<CompileOptions>;
  /** What else the attention gets. */
  attention?(inputs: Inputs, mask: Mask<Value>): Partial<AttendOpOptions>;
  /** Between projection and attention. */
  keys?(k: Value): Value;
  /** Between attention and projection. */
  result?(y: Value): Value;
  /** Further outputs. */
  also?(parts: Readonly<Record<'k' | 'v' | 'y' | 'o', Value>>): Readonly<Record<string, Value>>;
  /** The keys come from here; default x. */
  readonly memory?: string;
}

const [dim, width] = [11, 5];
const x = ['float32', ['batch', 'seq', dim]] as const;
const plain: Case = { heads: 6, kvHeads: 2, inputs: { x } };
const sizes = { batch: 2, seq: 13, memory: 17, tokens: 19, sequences: 3 };

function attentionOf(c: Case): AnyModule {
  const { valueWidth = 3, out = 7 } = c;
  const [q, k, v] = [
    linear(dim, c.heads * width, { role: 'query' }),
    linear(dim, c.kvHeads * width, { role: 'key' }),
    linear(dim, c.kvHeads * valueWidth, { role: 'value' }),
  ];
  const o = linear(c.heads * valueWidth, out, { bias: c.outBias ?? true });
  return module({ q, k, v, o }, (inputs: Inputs, ctx: SequenceContext) => {
    const { layout } = ctx;
    const source = c.memory === undefined ? inputs.x! : inputs[c.memory]!;
    const keys = splitHeads(k(source), c.kvHeads, layout);
    const values = splitHeads(v(source), c.kvHeads, layout);
    const options = { mask: maskOf(ctx), ...c.attention?.(inputs, maskOf(ctx)) };
    const queries = splitHeads(q(inputs.x!), c.heads, layout);
    const y = ops.attendOp(queries, c.keys?.(keys) ?? keys, values, options);
    const result = o(mergeHeads(c.result?.(y) ?? y, layout));
    return { o: result, ...c.also?.({ k: keys, v: values, y, o: result }) };
  });
}

const lengthsOf = { packed: [8, 0, 11], padded: [13, 4] } as const;
const numbers = (data: readonly number[]): NDArray => ({ dtype: 'int64', dims: [data.length], data: Float64Array.from(data) });

interface Outcome {
  readonly dropped: boolean;
  readonly moved: boolean;
  /** Why not. */
  readonly why: readonly string[];
}

/** Lowers the case, compares the numbers with those of the traced graph, and tells which rules were applied. */
function outcomeOf(c: Case, target: Target = targets.portable()): Outcome {
  const m = attentionOf(c);
  const model = compile(m, { target, inputs: c.inputs, weights: initialize(m), ...c.options } as CompileOptions);
  const { byName } = randomParameters(m);
  const parameters = (p: Parameter): NDArray => byName[model.names.nameOf.get(p)!]!;
  const { layout = 'padded' } = c.options ?? {};
  const given = (name: string, dtype: DType, dims: readonly Dim[]): NDArray =>
    dtype === 'int64'
      ? numbers(lengthsOf[layout as 'packed'])
      : randomArray(
          name,
          dims.map((d) => evaluateDim(d, sizes)),
          dtype,
        );
  const run = (graph: Graph) => {
    const feeds: Record<string, NDArray> = {};
    for (const v of graph.inputs) {
      const { leaf } = v;
      if (leaf?.kind === 'input') feeds[nameOf(v)!] = given(nameOf(v)!, v.dtype, v.dims);
    }
    for (const v of graph.inputs) {
      const { leaf } = v;
      if (leaf?.kind === 'derived')
        feeds[leaf.name] = computeDerived(
          leaf.how,
          leaf.from.map((f) => feeds[nameOf(f)!]!),
          (d) => evaluateDim(d, sizes),
          v,
          leaf.plus,
        )!;
    }
    return interpret(graph, feeds, { parameters });
  };
  const [expected, got] = [run(model.traced), run(model.graph)];
  // Constants of a lowered graph, such as the scale, are float32.
  for (const [name, y] of Object.entries(expected)) expectClose(got[name]!, y, { atol: 1e-6, rtol: 1e-6 }, name);
  const notes = model.decisions.flatMap((d) => d.notes.map((n) => n.text));
  const rejected = model.decisions.flatMap((d) => d.refused.filter(({ rule }) => biasesOfAttend.some((r) => r.name === rule)));
  return {
    dropped: notes.some((n) => n.startsWith('without the bias of the keys')),
    moved: notes.some((n) => n.startsWith('with the bias of the values')),
    why: [...new Set(rejected.map(({ reason }) => reason.text))].sort(),
  };
}

const both = { dropped: true, moved: true, why: [] };
const lengths = ['int64', ['batch']] as const;
const asData = ['int64', ['batch'], 'data'] as const;
const masked = (mask: (inputs: Inputs) => Mask<Value>, more: Case['inputs'] = {}): Case => ({
  ...plain,
  inputs: { x, ...more },
  attention: (inputs) => ({ mask: mask(inputs) }),
});
const packed: Case = {
  ...plain,
  inputs: { x: ['float32', ['tokens', dim]], lengths: ['int64', ['sequences']] },
  options: { layout: 'packed' },
};

describe('both are applied', () => {
  it.each<readonly [string, Case]>([
    ['with shared key heads', plain],
    ['with as many key heads', { ...plain, kvHeads: 6 }],
    ['without a bias behind', { ...plain, outBias: false }],
    ['causal', masked(() => causal)],
    ['within a window', masked(() => and<Value>(causal, slidingWindow({ left: 2 })))],
    ['packed', packed],
    ['packed, causal', { ...packed, attention: (_, mask) => ({ mask: and(mask, causal) }) }],
    ['under lengths that are not 0', { ...plain, inputs: { x, lengths }, options: { assumptions: ['no empty sequences'] } }],
    [
      'under causal lengths that are not 0',
      { ...masked(() => none, { n: asData }), attention: ({ n }) => ({ mask: and(causal, keyLengths(ops.max(n!, 1))) }) },
    ],
    [
      'on a known number of keys from elsewhere',
      { ...plain, memory: 'm', inputs: { x, m: ['float32', ['batch', 17, dim], 'data'] } },
    ],
  ])('%s', (_, c) => {
    for (const target of [targets.portable(), targets.cuda, targets.cpu]) expect(outcomeOf(c, target)).toEqual(both);
  });
});

const below = 'the weights of a query may add up to less than 1: by sinks, dropout, a bias of −∞, or a mask that hides all keys';
const elsewhere = (what: string): string => `something else reads the ${what}`;
const keysOnly = { dropped: true, moved: false, why: [below] };

describe('the bias of the values stays', () => {
  it.each<readonly [string, Case]>([
    ['if a sequence may be empty', { ...plain, inputs: { x, lengths } }],
    ['if all keys may be padding on the left', masked(({ n }) => keyStarts(n!), { n: asData })],
    ['if the window leaves out the query', masked(() => slidingWindow({ left: 3, right: -1 }))],
    ['if there may be no keys', { ...plain, memory: 'm', inputs: { x, m: ['float32', ['batch', 'memory', dim], 'data'] } }],
    [
      'with a bias of the scores',
      {
        ...plain,
        inputs: { x, bias: ['float32', ['batch', 6, 'seq', 'seq'], 'data'] },
        attention: ({ bias }) => ({ bias: bias! }),
      },
    ],
  ])('%s', (_, c) => expect(outcomeOf(c)).toEqual(keysOnly));

  it('if something else reads the values', () => {
    const c: Case = { ...plain, also: ({ v }) => ({ v }) };
    expect(outcomeOf(c)).toEqual({ dropped: true, moved: false, why: [elsewhere('values')] });
  });
  it('if something else reads the result of the attention', () => {
    const c: Case = { ...plain, also: ({ y }) => ({ y }) };
    expect(outcomeOf(c)).toEqual({ dropped: true, moved: false, why: [elsewhere('result of the attention')] });
  });
  it('if something is between attention and projection', () => {
    expect(outcomeOf({ ...plain, result: ops.tanh })).toEqual({ dropped: true, moved: false, why: [] });
  });
  it('if weights are inputs', () => {
    const c: Case = { ...plain, options: { parameters: () => 'input' } };
    const why = ['a weight or a bias is an input, so that the bias would be computed in every run'];
    expect(outcomeOf(c)).toEqual({ dropped: true, moved: false, why });
  });
});

describe('the bias of the keys stays', () => {
  it('with a softcap', () => {
    expect(outcomeOf({ ...plain, attention: () => ({ softcap: 2 }) })).toMatchObject({ dropped: false, moved: true });
  });
  it('with sinks', () => {
    const c: Case = { ...plain, inputs: { x, s: ['float32', [6], 'data'] }, attention: ({ s }) => ({ sinks: s! }) };
    expect(outcomeOf(c)).toMatchObject({ dropped: false, moved: false });
  });
  it('if scores are modified', () => {
    const c: Case = { ...plain, attention: () => ({ scoreMod: scoreMod((score) => score.mul(score)) }) };
    expect(outcomeOf(c)).toEqual({ dropped: false, moved: false, why: [] });
  });
  it('if keys are changed before the attention', () => {
    expect(outcomeOf({ ...plain, keys: ops.tanh })).toEqual({ dropped: false, moved: true, why: [] });
  });
  it('if something else reads the keys', () => {
    const c: Case = { ...plain, also: ({ k }) => ({ k }) };
    expect(outcomeOf(c)).toEqual({ dropped: false, moved: true, why: [elsewhere('keys')] });
  });
  it('of a graph with gradients', () => {
    const all = (o: Value): Value => ops.reduceSum(o, [0, 1, 2], { keepDims: false });
    const c: Case = {
      ...plain,
      also: ({ o, v, k }) => {
        const [dv, dk] = grad(all(o), [v, k]) as [Value, Value];
        return { dv, dk };
      },
    };
    expect(outcomeOf(c)).toMatchObject({ dropped: false, moved: false });
  });
});

it('a large weight is multiplied in parts', () => {
  expect(outcomeOf({ ...plain, heads: 2, kvHeads: 2, valueWidth: 1031, out: 2063 })).toEqual(both);
});
