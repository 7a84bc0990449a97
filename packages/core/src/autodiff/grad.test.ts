// Gradients of random small graphs against finite differences: views of views, ops that have only a definition, branches within branches.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Dim } from '../dim/dim';
import { ConfigError, ShapeError } from '../error';
import { interpret } from '../interpret/interpret';
import { apply, type Value } from '../ir/graph';
import { rewrite } from '../lower/rewrite';
import { causal } from '../mask/index';
import { module } from '../module/module';
import { reparametrize } from '../module/reparametrize';
import { gelu } from '../ops/activation';
import { attendOp } from '../ops/attend';
import { cond } from '../ops/control';
import { einsum } from '../ops/einsum';
import { add, mul, tanh } from '../ops/elementwise';
import { linear, matmul } from '../ops/matmul';
import { reshape, transpose } from '../ops/movement';
import { rmsNorm } from '../ops/normalization';
import { reduceSum } from '../ops/reduce';
import { GraphBuilder } from '../ops/vocabulary';
import { unset } from '../parameter/init';
import { Parameter } from '../parameter/parameter';
import type { NDArray } from '../tensor/tensor';
import { expectClose } from '../testing/close';
import { randomArray } from '../testing/run-block';
import { grad } from './grad';

const [batch, heads, rows, width] = [1, 2, 3, 5];
const wide = [batch, heads, rows, width] as const;
const tall = [batch, heads, width, rows] as const;

/** One more value made of those before it, which are counted backwards from the last. */
type Step =
  | { readonly op: 'transpose' | 'reshape' | 'flat' | 'tanh' | 'gelu'; readonly of: readonly [number] }
  | { readonly op: 'add' | 'mul' | 'norm' | 'linear' | 'einsum'; readonly of: readonly [number, number] }
  | { readonly op: 'attend'; readonly of: readonly [number, number, number] }
  | { readonly op: 'cond'; readonly of: readonly [number]; readonly yes: readonly Step[]; readonly no: readonly Step[] };

interface Program {
  readonly steps: readonly Step[];
  /** Which values the gradients are of, from the first input on. */
  readonly asked: readonly number[];
  readonly flag: boolean;
}

const at = fc.nat(20);
const stepOf = (depth: number): fc.Arbitrary<Step> =>
  fc.oneof(
    {
      weight: 4,
      arbitrary: fc.record({ op: fc.constantFrom('transpose', 'reshape', 'flat', 'tanh', 'gelu'), of: fc.tuple(at) }),
    },
    { weight: 4, arbitrary: fc.record({ op: fc.constantFrom('add', 'mul', 'norm', 'linear', 'einsum'), of: fc.tuple(at, at) }) },
    { weight: 3, arbitrary: fc.record({ op: fc.constant('attend' as const), of: fc.tuple(at, at, at) }) },
    ...(depth > 0
      ? [
          {
            weight: 3,
            arbitrary: fc.record({
              op: fc.constant('cond' as const),
              of: fc.tuple(at),
              yes: fc.array(stepOf(depth - 1), { minLength: 1, maxLength: 4 }),
              no: fc.array(stepOf(depth - 1), { minLength: 1, maxLength: 3 }),
            }),
          },
        ]
      : []),
  ) as fc.Arbitrary<Step>;
const program: fc.Arbitrary<Program> = fc.record({
  steps: fc.array(stepOf(2), { minLength: 1, maxLength: 7 }),
  asked: fc.uniqueArray(fc.nat(8), { minLength: 1, maxLength: 4 }),
  flag: fc.boolean(),
});

const flipped = (x: Value): Value => transpose(x, [0, 1, 3, 2]);
/** As [batch, heads, rows, width], by turning what stands upright. */
const lying = (x: Value): Value => (x.rank === 4 ? (x.dims[2] === rows ? x : flipped(x)) : reshape(x, wide));

function applied(step: Step, pool: readonly Value[], flag: Value): Value {
  const [a, b, c] = step.of.map((i) => pool.at(-1 - (i % pool.length))!) as [Value, Value, Value];
  switch (step.op) {
    case 'transpose':
      return a.rank === 4 ? flipped(a) : reshape(a, tall);
    case 'reshape':
      return reshape(a, a.dims[2] === rows ? tall : wide);
    case 'flat':
      return reshape(a, [batch, heads * rows * width]);
    case 'tanh':
      return tanh(a);
    case 'gelu':
      return gelu(a);
    case 'add':
      return add(lying(a), lying(b));
    case 'mul':
      return mul(lying(a), tanh(lying(b)));
    case 'norm':
      return rmsNorm(lying(a), reduceSum(lying(b), [0, 1, 2], { keepDims: false }), { epsilon: 0.3 });
    case 'linear': {
      const flat = tanh(reduceSum(lying(b), [0, 1], { keepDims: false }));
      return linear(lying(a), matmul(transpose(flat, [1, 0]), flat));
    }
    case 'einsum':
      return einsum('bhsd,bhtd->bhsd', tanh(lying(a)), tanh(lying(b)));
    case 'attend':
      return attendOp(lying(a), lying(b), lying(c), { mask: causal });
    case 'cond': {
      const branch = (steps: readonly Step[]) => () => [lying(last(run(steps, pool, flag)))];
      return mul(cond(flag, branch(step.yes), branch(step.no))[0]!, 0.7);
    }
  }
}

const last = (values: readonly Value[]): Value => values.at(-1)!;

/** All values in the order of their making. */
function run(steps: readonly Step[], pool: readonly Value[], flag: Value): readonly Value[] {
  const values = [...pool];
  for (const step of steps) values.push(applied(step, values, flag));
  return values;
}

/** The graph of a program: three inputs, then its steps. */
function traced(g: GraphBuilder, { steps }: Program): { readonly values: readonly Value[]; readonly loss: Value } {
  const inputs = [wide, tall, wide].map((dims, i) => g.input(`x${i}`, 'float64', dims));
  const values = run(steps, inputs, g.input('flag', 'bool', []));
  const used = [last(values), values[Math.floor(values.length / 2)]!].map((v) => lying(v));
  const squares = used.map((v) => reduceSum(mul(v, v), [0, 1, 2, 3], { keepDims: false }));
  return { values, loss: squares.reduce((a, b) => add(a, b)) };
}

const array = (name: string, dims: readonly Dim[]): NDArray => randomArray(name, dims as number[], 'float64');
const feedsOf = ({ flag }: Program): Record<string, NDArray> => ({
  ...Object.fromEntries([wide, tall, wide].map((dims, i) => [`x${i}`, array(`x${i}`, dims)])),
  flag: { dtype: 'bool', dims: [], data: Float64Array.of(flag ? 1 : 0) },
});

/** How fast the loss changes when t times the direction is added to a value wherever the graph uses it. */
function slopeOf(program: Program, at: number): number {
  const g = new GraphBuilder();
  const far = g.input('t', 'float64', []);
  const { values, loss } = traced(g, program);
  const value = values[at]!;
  const moved = (v: Value, t: Value): Value => {
    const { data, dims } = array(`towards ${at}`, v.dims);
    return add(v, mul(v.graph.root.constant({ dtype: 'float64', dims, data: Float64Array.from(data) }), t));
  };
  g.output('loss', loss);
  const { producer } = value;
  const again = (get: (v: Value) => Value) =>
    apply(
      producer!.op,
      producer!.operands.map((v) => v && get(v)),
      producer!.attrs,
    )[0]!;
  const match = { covers: [value], emit: (get: (v: Value) => Value) => [moved(again(get), get(far))] };
  const graph = producer ? rewrite(g.finish(), new Map([[value, { rule: 'moved', node: producer, match }]])) : g.finish();
  const lossAt = (t: number): number => {
    const feeds: Record<string, NDArray> = { ...feedsOf(program), t: { dtype: 'float64', dims: [], data: Float64Array.of(t) } };
    const x = feeds[`x${at}`];
    const towards = array(`towards ${at}`, value.dims).data;
    if (!producer) feeds[`x${at}`] = { ...x!, data: x!.data.map((v, i) => v + t * towards[i]!) };
    return interpret(graph, feeds).loss!.data[0]!;
  };
  const h = 1e-3;
  return (8 * (lossAt(h) - lossAt(-h)) - (lossAt(2 * h) - lossAt(-2 * h))) / (12 * h);
}

describe('grad', () => {
  const seen = { compared: 0, refused: 0, branches: 0 };

  it('agrees with finite differences, for inputs and intermediate values requested together', () => {
    fc.assert(
      fc.property(program, (p) => {
        const g = new GraphBuilder();
        const { values, loss } = traced(g, p);
        const asked = [...new Set(p.asked.map((i) => values.indexOf(values[i % values.length]!)))];
        let gradients: readonly Value[];
        try {
          gradients = grad(
            loss,
            asked.map((i) => values[i]!),
          );
        } catch (error) {
          // A view of a view is one view of what lies before both: then the gradient of the one between is not known, and refused.
          if (!(error instanceof ConfigError) || !error.problem.includes('was simplified')) throw error;
          seen.refused++;
          return;
        }
        gradients.forEach((d, i) => g.output(`d${i}`, d));
        const results = interpret(g.finish(), feedsOf(p));
        const expected = asked.map((at) => slopeOf(p, at));
        asked.forEach((at, i) => {
          const { data, dims } = results[`d${i}`]!;
          const direction = array(`towards ${at}`, dims).data;
          const slope = data.reduce((sum, d, k) => sum + d * direction[k]!, 0);
          const scale = data.reduce((sum, d, k) => sum + Math.abs(d * direction[k]!), 1);
          expect(Math.abs(slope - expected[i]!) / scale, `value ${at}: ${slope}, measured ${expected[i]}`).toBeLessThan(1e-6);
        });
        seen.compared++;
        if (p.steps.some(({ op }) => op === 'cond')) seen.branches++;
      }),
      { numRuns: 100 },
    );
    // What is refused must stay the exception.
    expect(seen.compared).toBeGreaterThan(4 * seen.refused);
    expect(seen.branches).toBeGreaterThan(12);
  });

  const g = () => new GraphBuilder();
  const float = (dims: readonly number[], ...numbers: number[]): NDArray => ({
    dtype: 'float64',
    dims,
    data: Float64Array.from(numbers),
  });
  const sumOf = (x: Value): Value => reduceSum(x, [...x.dims.keys()], { keepDims: false });
  const computed = (graph: GraphBuilder, values: readonly Value[], feeds: Record<string, NDArray>) => {
    values.forEach((v, i) => graph.output(`d${i}`, v));
    return Object.values(interpret(graph.finish(), feeds));
  };

  it('includes paths through another requested value', () => {
    const graph = g();
    const x = graph.input('x', 'float64', [2]);
    const h = mul(x, 3);
    const both = grad(sumOf(mul(h, h)), [h, x]);
    expect(computed(graph, both, { x: float([2], 1, 2) }).map((d) => [...d.data])).toEqual([
      [6, 12],
      [18, 36],
    ]);
  });

  it('sees a transposed operand of an op that has only a definition, outside and inside of a branch', () => {
    const [q, r] = [array('q', [1, 1, 3, 5]), array('r', [1, 1, 5, 3])];
    const dims = [1, 1, 3, 5];
    const slopesOf = (inside: boolean) => {
      const graph = g();
      const [a, b] = [graph.input('q', 'float64', q.dims), graph.input('r', 'float64', r.dims)];
      const k = flipped(b);
      const y = () => [attendOp(a, k, k, { mask: causal })];
      const [out] = inside ? cond(graph.input('flag', 'bool', []), y, () => [a]) : y();
      const flag: NDArray = { dtype: 'bool', dims: [], data: Float64Array.of(1) };
      return computed(graph, grad(sumOf(mul(out!, out!)), [b, k, a]), { q, r, ...(inside && { flag }) });
    };
    const [outside, inside] = [slopesOf(false), slopesOf(true)];
    outside.forEach((d, i) => expectClose(inside[i]!, d, { atol: 1e-12, rtol: 1e-12 }));
    // k is r turned, so its gradient is that of r turned.
    const [dr, dk] = outside as [NDArray, NDArray];
    const turned = dk.data.map((_, i) => dr.data[(i % 5) * 3 + Math.floor(i / 5)]!);
    expectClose(dk, { dtype: 'float64', dims, data: turned }, { atol: 1e-12, rtol: 1e-12 });
    expect(Math.max(...dk.data.map(Math.abs))).toBeGreaterThan(0.1);
  });

  it('refuses a value that a simplification passed by', () => {
    const graph = g();
    const r = graph.input('r', 'float64', [3, 5]);
    const k = transpose(r, [1, 0]);
    const loss = sumOf(mul(transpose(k, [1, 0]), r));
    expect(() => grad(loss, [k])).toThrow(
      'the gradient of this Transpose is not known: the graph was simplified, and the result is computed from its operands instead',
    );
    expect(() => grad(loss, [r])).not.toThrow();
  });

  it('refuses what is not a scalar, and values that are not floats', () => {
    const graph = g();
    const [x, n] = [graph.input('x', 'float64', [2]), graph.input('n', 'int64', [2])];
    expect(() => grad(x, [x])).toThrow('only a scalar has a gradient');
    expect(() => grad(sumOf(x), [n])).toThrow(
      new ShapeError({ path: 'grad', problem: 'only floats have a gradient', expected: 'a float', got: 'int64[2]' }).message,
    );
  });

  describe('of parameters that reparametrize computes from others', () => {
    const weight = new Parameter([2], unset);
    const scale = new Parameter([2], unset);
    const values = new Map([
      [weight, float([2], 5, 7)],
      [scale, float([2], 2, 3)],
    ]);
    // Σ x W' with W' = scale · W², or scale alone.
    const slopesOf = (replaces: boolean, wrt: (g: GraphBuilder) => readonly (Value | Parameter)[]): number[][] => {
      const plain = module({ weight }, (x: Value) => sumOf(mul(x, x.graph.root.param(weight))));
      const made = reparametrize(plain, () => ({
        parameters: { scale },
        replaces,
        value: (old, g) => (replaces ? g.param(scale) : mul(g.param(scale), mul(old(), old()))),
      }));
      const graph = new GraphBuilder({ dtype: 'float64' });
      grad(made(graph.input('x', 'float64', [2])), wrt(graph)).forEach((d, i) => graph.output(`d${i}`, d));
      const parameters = (p: Parameter) => values.get(p)!;
      return Object.values(interpret(graph.finish(), { x: float([2], 11, 13) }, { parameters })).map(({ data }) => [...data]);
    };

    it('is that of what is stored, of what it is made from, and of the weight that is used, each by itself', () => {
      const all = slopesOf(false, (g) => [weight, scale, g.param(weight)]);
      expect(all).toEqual([
        [11 * 2 * 2 * 5, 13 * 3 * 2 * 7],
        [11 * 25, 13 * 49],
        [11, 13],
      ]);
      expect(slopesOf(false, () => [weight])).toEqual([all[0]]);
    });

    it('is refused for one that is replaced altogether', () => {
      expect(slopesOf(true, () => [scale])).toEqual([[11, 13]]);
      expect(() => slopesOf(true, () => [weight])).toThrow('a parameter that reparametrize replaced is not in the graph');
    });
  });
});
