// The checks of every op, on a few cases each.
import { backward } from '../autodiff/grad';
import { type Dim, evaluateDim, namesOfDim } from '../dim/dim';
import { interpret } from '../interpret/interpret';
import { printType } from '../ir/define-op';
import type { Graph, Value } from '../ir/graph';
import { mul } from '../ops/elementwise';
import { reduceSum } from '../ops/reduce';
import { GraphBuilder } from '../ops/vocabulary';
import { countOf, type DType, isFloat, type NDArray } from '../tensor/tensor';
import { expectClose, type Tolerance } from './close';
import { randomNumbers } from './random';

/** One operand of a case, with random elements unless `values` is given. */
export interface CaseInput {
  readonly dtype: DType;
  readonly dims: readonly Dim[];
  /** Minimum of the elements. Default -2, for unsigned integers 0. */
  readonly low?: number;
  /** Maximum of the elements. Default 2, for integers 5. */
  readonly high?: number;
  /** Integers, also in a float dtype. */
  readonly integer?: boolean;
  /** The elements, row-major, for the case's sizes. */
  readonly values?: readonly number[];
}

/** An application of an op to be checked. */
export interface OpCase {
  readonly name: string;
  readonly inputs: readonly CaseInput[];
  /** Applies the op. */
  readonly build: (g: GraphBuilder, ...inputs: Value[]) => Value | readonly Value[];
  /** Values of the names in the dims. Default: different primes. */
  readonly sizes?: Readonly<Record<string, number>>;
  /** The inputs that have gradients: all floats (default), none, or these; `elsewhere`: all floats, but not at exactly these numbers. */
  readonly differentiable?: boolean | readonly number[] | 'elsewhere';
  /** Elements of the first outputs, from an independent source. */
  readonly expected?: readonly (readonly number[])[];
  /** Why the case is not run on runtimes. */
  readonly referenceOnly?: string;
  /** Tolerance between `evaluate` and `decompose`. Default 1e-9 for both. */
  readonly tolerance?: Tolerance;
}

/** A prepared case: its graph at symbolic sizes, and its data. */
export interface ReadyCase {
  readonly graph: Graph;
  readonly sizes: Readonly<Record<string, number>>;
  readonly feeds: Readonly<Record<string, NDArray>>;
}

/** Builds the graph of a case and its data, the same in every run. Inputs are called `x0`, `x1`, …, outputs `y0`, … */
export function prepare(c: OpCase): ReadyCase {
  const sizes = sizesOf(c);
  const numbers = randomNumbers(c.name);
  const feeds = Object.fromEntries(c.inputs.map((input, i) => [`x${i}`, dataOf(c, input, sizes, numbers)]));
  return { graph: traced(c, (d) => d), sizes, feeds };
}

/**
 * Checks an op on one case: that `infer` returns the types of `evaluate`'s results, at symbolic and at known sizes; that `decompose` computes the same
 * as `evaluate`; that `vjp` agrees with central differences; and the expected elements, if the case has them.
 *
 * @throws Error that names the check, the worst element and its index
 */
export function checkOp(c: OpCase): void {
  const { graph, sizes, feeds } = prepare(c);
  const results = interpret(graph, feeds, { sizes });
  const names = Object.keys(results);
  if (names.length === 0) throw new Error(`${c.name}: builds no output`);
  const compareAll = (others: Readonly<Record<string, NDArray>>, what: string) => {
    for (const name of names)
      expectClose(others[name]!, results[name]!, c.tolerance, `${c.name}: ${what} of ${name} and evaluate`);
  };
  c.expected?.forEach((values, i) => {
    const got = results[`y${i}`]!;
    const expected = { ...got, data: Float64Array.from(values) };
    expectClose(got, expected, { equalNaN: true, ...c.tolerance }, `${c.name}: y${i} and the expected values`);
  });
  const fixed = traced(c, (d) => evaluateDim(d, sizes));
  compareAll(interpret(fixed, feeds, { sizes }), 'known sizes');
  compareAll(interpret(graph, feeds, { sizes, prefer: 'decompose' }), 'decompose');
  compareAll(interpret(fixed, feeds, { sizes, prefer: 'decompose' }), 'decompose at known sizes');
  checkGradients(c);
}

/** Checks all cases and throws one error for all that fail. */
export function checkOps(cases: readonly OpCase[]): void {
  const failures = cases.flatMap((c) => {
    try {
      checkOp(c);
      return [];
    } catch (error) {
      return [error instanceof Error ? error.message : String(error)];
    }
  });
  if (failures.length) throw new Error(failures.join('\n'));
}

// ---- Gradients ------------------------------------------------------------------------------------------------------

const step = 1e-4;

// L = Σ weights · outputs, differentiated by the graph and by central differences of fourth order.
function checkGradients(c: OpCase): void {
  const { sizes, feeds } = prepare(c);
  const g = new GraphBuilder();
  const inputs = c.inputs.map(({ dtype, dims }, i) => g.input(`x${i}`, dtype, dims));
  const outputs = listed(c.build(g, ...inputs));
  const seeds = outputs.map((y, i) => (isFloat(y.dtype) ? g.input(`seed${i}`, y.dtype, y.dims) : undefined));
  if (c.differentiable === false && outputs.every((y) => !isFloat(y.dtype))) return;

  const grads = backward(outputs, seeds, inputs);
  grads.forEach((grad, i) => {
    if (grad) checkGradientType(c, i, grad, inputs[i]!);
  });
  if (c.differentiable === 'elsewhere') return;
  outputs.forEach((y, i) => {
    const seed = seeds[i];
    if (seed) g.output(`loss${i}`, reduceSum(mul(y, seed), axesOfRank(y.rank), { keepDims: false }));
  });
  grads.forEach((grad, i) => {
    if (grad) g.output(`grad${i}`, grad);
  });

  const graph = g.finish();
  const numbers = randomNumbers(`${c.name} seeds`);
  const seeded = Object.fromEntries(
    seeds.flatMap((s, i) => (s ? [[`seed${i}`, arrayOf(s.dtype, s.dims, sizes, () => 2 * numbers() - 1)] as const] : [])),
  );
  const all = { ...feeds, ...seeded };
  const run = (fed: Readonly<Record<string, NDArray>>) => interpret(graph, fed, { sizes });
  const loss = (fed: Readonly<Record<string, NDArray>>) =>
    Object.entries(run(fed)).reduce((total, [name, y]) => (name.startsWith('loss') ? total + y.data[0]! : total), 0);
  const exact = run(all);
  for (const i of inputs.keys()) {
    if (!expectsGradient(c, i)) continue;
    const x = feeds[`x${i}`]!;
    const grad = exact[`grad${i}`]?.data ?? new Float64Array(x.data.length);
    const at = sampled(x.data.length, numbers);
    const measured = at.map((k) => slope((v) => loss({ ...all, [`x${i}`]: replaced(x, k, v) }), x.data[k]!));
    const list = (values: readonly number[]): NDArray => ({
      dtype: 'float64',
      dims: [values.length],
      data: Float64Array.from(values),
    });
    const what = `${c.name}: vjp and the measured slope of x${i} at elements ${at.join(', ')}`;
    expectClose(list(at.map((k) => grad[k]!)), list(measured), { atol: 1e-7, rtol: 1e-6 }, what);
  }
}

function checkGradientType(c: OpCase, i: number, grad: Value, x: Value): void {
  if (!expectsGradient(c, i)) throw new Error(`${c.name}: x${i} has a gradient, but the case says that it has none`);
  if (printType(grad) === printType(x)) return;
  throw new Error(`${c.name}: the gradient of x${i} is ${printType(grad)}, the operand ${printType(x)}`);
}

function slope(f: (x: number) => number, x: number): number {
  const h = step * Math.max(1, Math.abs(x));
  return (8 * (f(x + h) - f(x - h)) - (f(x + 2 * h) - f(x - 2 * h))) / (12 * h);
}

function expectsGradient({ differentiable = true, inputs }: OpCase, i: number): boolean {
  return (
    isFloat(inputs[i]!.dtype) && (typeof differentiable === 'object' ? differentiable.includes(i) : differentiable !== false)
  );
}

const mostMeasured = 24;
function sampled(count: number, numbers: () => number): number[] {
  const all = Array.from({ length: count }, (_, i) => i);
  if (count <= mostMeasured) return all;
  const chosen = new Set<number>([0, count - 1]);
  while (chosen.size < mostMeasured) chosen.add(Math.floor(numbers() * count));
  return [...chosen].sort((a, b) => a - b);
}

function replaced(x: NDArray, at: number, value: number): NDArray {
  const data = x.data.slice();
  data[at] = value;
  return { ...x, data };
}

// ---- Graphs and data ------------------------------------------------------------------------------------------------

const listed = (values: Value | readonly Value[]): readonly Value[] => (Array.isArray(values) ? values : [values as Value]);
const axesOfRank = (rank: number): number[] => Array.from({ length: rank }, (_, i) => i);

function traced(c: OpCase, at: (d: Dim) => Dim): Graph {
  const g = new GraphBuilder();
  const inputs = c.inputs.map(({ dtype, dims }, i) => g.input(`x${i}`, dtype, dims.map(at)));
  listed(c.build(g, ...inputs)).forEach((value, i) => {
    g.output(`y${i}`, value);
  });
  return g.finish();
}

const primes = [7, 5, 11, 3, 13, 2, 17, 19];
function sizesOf({ inputs, sizes }: OpCase): Readonly<Record<string, number>> {
  const names = [...new Set(inputs.flatMap(({ dims }) => dims.flatMap(namesOfDim)))];
  const given = new Set(Object.values(sizes ?? {}));
  const free = primes.filter((p) => !given.has(p));
  return { ...Object.fromEntries(names.map((name, i) => [name, free[i % free.length]!])), ...sizes };
}

function dataOf(c: OpCase, input: CaseInput, sizes: Readonly<Record<string, number>>, numbers: () => number): NDArray {
  const { dtype, dims, values } = input;
  const whole = input.integer ?? !isFloat(dtype);
  const low = input.low ?? (dtype === 'bool' || dtype.startsWith('uint') ? 0 : -2);
  const high = input.high ?? (dtype === 'bool' ? 1 : whole ? 5 : 2);
  const random = whole ? () => low + Math.floor(numbers() * (high - low + 1)) : () => low + numbers() * (high - low);
  if (!values) return arrayOf(dtype, dims, sizes, random);
  let at = 0;
  const array = arrayOf(dtype, dims, sizes, () => values[at++]!);
  if (at !== values.length) throw new Error(`${c.name}: [${array.dims}] has ${at} elements, the case gives ${values.length}`);
  return array;
}

function arrayOf(dtype: DType, dims: readonly Dim[], sizes: Readonly<Record<string, number>>, f: () => number): NDArray {
  const known = dims.map((d) => evaluateDim(d, sizes));
  return { dtype, dims: known, data: Float64Array.from({ length: countOf(known) }, f) };
}
