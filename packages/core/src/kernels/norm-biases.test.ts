import { describe, expect, it } from 'vitest';
import { compile, type Model } from '../compile/compile';
import type { CompileOptions } from '../compile/compile-options';
import { initialize } from '../compile/initialize';
import { toBytes } from '../compile/serialize';
import { evaluateDim } from '../dim/dim';
import { interpret } from '../interpret/interpret';
import { nameOf, type Value } from '../ir/graph';
import { linear } from '../layers/linear';
import { causal, type Mask } from '../mask/index';
import { type AnyModule, module } from '../module/module';
import { readOnnx } from '../onnx/decode';
import * as ops from '../ops/index';
import { ones, zeros } from '../parameter/init';
import { Parameter } from '../parameter/parameter';
import { maskOf, type SequenceContext } from '../sequence/context';
import { mergeHeads, splitHeads } from '../sequence/layout';
import { targets } from '../targets/index';
import type { NDArray } from '../tensor/tensor';
import { expectClose } from '../testing';
import { roundingErrors } from '../testing/rounding';
import { randomArray, randomParameters } from '../testing/run-block';
import { useBiasInWeights, WeightWithBias } from './norm-biases';

type Inputs = Readonly<Record<string, Value>>;
type Parts = Readonly<Record<'y' | 'q' | 'k' | 'v', Value>>;
interface Case {
  readonly dim?: number;
  readonly width?: number;
  readonly biases?: readonly ('q' | 'k' | 'v')[];
  /** Without them the norm has no shift. */
  readonly shift?: boolean;
  readonly inputs?: CompileOptions['inputs'];
  readonly options?: Partial<CompileOptions>;
  readonly mask?: Mask<Value>;
  readonly softcap?: number;
  /** In place of the normalised x, for keys and values. */
  readonly memory?: string;
  /** The norm. */
  norm?(x: Value, scale: Parameter, shift: Parameter | undefined): Value;
  /** Between projection and attention. */
  keys?(k: Value): Value;
  /** Further outputs. */
  also?(parts: Parts): Readonly<Record<string, Value>>;
}

const [heads, kvHeads] = [6, 2];
const defaultDim = 61;
const plain: Case = {};
const sizes = { batch: 2, seq: 13, memory: 17 };

function attentionOf(c: Case): AnyModule {
  const { dim = defaultDim, width = 5 } = c;
  const with_ = (what: 'q' | 'k' | 'v') => ({ bias: (c.biases ?? ['q', 'k', 'v']).includes(what) });
  const [q, k, v] = [
    linear(dim, heads * width, { role: 'query', ...with_('q') }),
    linear(dim, kvHeads * width, { role: 'key', ...with_('k') }),
    linear(dim, kvHeads * width, { role: 'value', ...with_('v') }),
  ];
  const [scale, shift] = [new Parameter([dim], ones), new Parameter([dim], zeros)];
  const norm = { scale, ...(c.shift !== false && { shift }) };
  return module({ ...norm, q, k, v }, (inputs: Inputs, ctx: SequenceContext) => {
    const { layout } = ctx;
    const make = c.norm ?? ((x, a, b) => ops.layerNorm(x, a, b));
    const y = make(inputs.x!, scale, norm.shift);
    const from = c.memory === undefined ? y : inputs[c.memory]!;
    const parts = { y, q: q(y), k: k(from), v: v(from) };
    const keys = splitHeads(parts.k, kvHeads, layout);
    const result = ops.attendOp(
      splitHeads(parts.q, heads, layout),
      c.keys?.(keys) ?? keys,
      splitHeads(parts.v, kvHeads, layout),
      {
        mask: c.mask ?? maskOf(ctx),
        ...(c.softcap !== undefined && { softcap: c.softcap }),
      },
    );
    return { o: mergeHeads(result, layout), ...c.also?.(parts) };
  });
}

interface Outcome {
  /** The biases of the projections are in their weights. */
  readonly applied: boolean;
  /** Why not. */
  readonly why: readonly string[];
}

function compiled(c: Case): { readonly module: AnyModule; readonly model: Model } {
  const m = attentionOf(c);
  const inputs = { x: ['float32', ['batch', 'seq', defaultDim]], ...c.inputs } as const;
  return {
    module: m,
    model: compile(m, { target: targets.cuda, inputs, weights: initialize(m), ...c.options } as CompileOptions),
  };
}

/** Parameters and inputs of a compiled case, and the results of the graph as it was traced. */
function computed({ module: m, model }: ReturnType<typeof compiled>) {
  const { of } = randomParameters(m);
  const feeds: Record<string, NDArray> = {};
  for (const v of model.graph.inputs)
    if (v.leaf?.kind === 'input')
      feeds[nameOf(v)!] = randomArray(
        nameOf(v)!,
        v.dims.map((d) => evaluateDim(d, sizes)),
        v.dtype,
      );
  return { feeds, parameters: of, expected: interpret(model.traced, feeds, { parameters: of }) };
}

function outcomeOf(c: Case): Outcome {
  const both = compiled(c);
  const { feeds, parameters, expected } = computed(both);
  const got = interpret(both.model.graph, feeds, { parameters });
  for (const [name, y] of Object.entries(expected)) expectClose(got[name]!, y, { atol: 1e-6, rtol: 1e-6 }, name);
  const { decisions, graph } = both.model;
  const applied = graph.nodes.some(({ op }) => op === WeightWithBias);
  expect(decisions.some((d) => d.notes.some((n) => n.text.startsWith('with the biases of its projections')))).toBe(applied);
  // No bias is left where it was applied.
  if (applied) expect(graph.nodes.filter(({ op, operands }) => op === ops.Add && operands[0]!.dims.includes('seq'))).toEqual([]);
  const refused = decisions.flatMap((d) => d.refused.filter(({ rule }) => rule === useBiasInWeights.name));
  return { applied, why: [...new Set(refused.map(({ reason }) => reason.text))] };
}

const applied = { applied: true, why: [] };
const memory = { inputs: { m: ['float32', ['batch', 'memory', defaultDim], 'data'] } } as const;

describe('the biases are in the weights', () => {
  it.each<readonly [string, Case]>([
    ['of all projections', plain],
    ['causal', { mask: causal }],
    ['of the queries alone', { biases: ['q'] }],
    ['of the values alone, which nothing else removes', { biases: ['v'], softcap: 3 }],
    ['of the keys, which a softcap keeps', { biases: ['k'], softcap: 3 }],
    ['behind a norm without shift', { shift: false }],
    ['of queries whose keys come from elsewhere', { ...memory, memory: 'm' }],
    ['in float16', { options: { dtype: 'float16' } }],
    ['in bfloat16', { options: { dtype: 'bfloat16' } }],
  ])('%s', (_, c) => expect(outcomeOf(c)).toEqual(applied));
});

const elsewhere = (what: string): string => `something else reads the ${what}`;
const notParameters = 'a weight is an input, shared, or not stored as it is';

describe('the biases stay', () => {
  const cases: readonly (readonly [string, Case] | readonly [string, Case, string])[] = [
    ['where there are none', { biases: [] }],
    ['on a target whose products take a bias', { options: { target: targets.cpu } }],
    ['on portable', { options: { target: targets.portable() } }],
    ['behind a norm whose rows do not add up to 0', { norm: (x, scale) => ops.rmsNorm(x, scale) }],
    ['behind a norm over two axes', { norm: (x, a, b) => ops.layerNorm(x, a, b, { axis: -2 }) }],
    ['behind something that follows the norm', { norm: (x, a, b) => ops.tanh(ops.layerNorm(x, a, b)) }],
    ['if something else reads the norm', { also: ({ y }) => ({ y }) }, elsewhere('result of the layer normalisation')],
    ['if another map reads the norm', { keys: ops.tanh }, elsewhere('result of the layer normalisation')],
    ['if something else reads the queries', { also: ({ q }) => ({ q }) }, elsewhere('queries, keys or values')],
    ['if weights are inputs', { options: { parameters: () => 'input' } }, notParameters],
    [
      'if the scale of the norm is an input',
      { options: { parameters: (path) => (path === 'scale' ? 'input' : 'stored') } },
      'the scale or the shift of the layer normalisation is an input',
    ],
  ];
  for (const [name, c, ...why] of cases) it(name, () => expect(outcomeOf(c)).toEqual({ applied: false, why }));
});

it.each(['float16', 'bfloat16'] as const)('rounding to %s changes the result by at most twice as much', (dtype) => {
  const both = compiled({ options: { dtype } });
  const { feeds, parameters, expected } = computed(both);
  const unit = { float16: 2 ** -11, bfloat16: 2 ** -8 }[dtype];
  const errors = (graph: Model['graph']): number => roundingErrors(graph, feeds, { parameters }, expected, undefined, unit).o!;
  expect(errors(both.model.graph)).toBeLessThan(2 * errors(both.model.traced));
});

it('a scale of zeros, and one of very small numbers', () => {
  for (const size of [0, 2 ** -14]) {
    const both = compiled({ options: { dtype: 'float16' } });
    const { feeds, parameters } = computed(both);
    const small = (p: Parameter): NDArray => {
      const value = parameters(p);
      return both.model.names.nameOf.get(p) === 'scale' ? { ...value, data: value.data.map((x) => x * size) } : value;
    };
    const [expected, got] = [both.model.traced, both.model.graph].map((g) => interpret(g, feeds, { parameters: small }).o!);
    expectClose(got!, expected!, { atol: 1e-6, rtol: 1e-6 });
  }
});

it('the weights are computed when the model is written', async () => {
  const { model } = compiled({ options: { dtype: 'float16' } });
  const written = readOnnx(await toBytes(model));
  expect(written.graph.nodes.filter(({ domain }) => domain === 'onnxformers')).toEqual([]);
});

it('a large weight is computed in parts', () => {
  expect(outcomeOf({ dim: 2053, width: 347, inputs: { x: ['float32', ['batch', 'seq', 2053]] } })).toEqual(applied);
});
