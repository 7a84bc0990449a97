// The error of float32 arithmetic, determined by evaluation with random errors of its size, independent of a processor.
import { type InterpretOptions, interpret } from '../interpret/interpret';
import type { Graph, Node } from '../ir/graph';
import { isFloat, type NDArray } from '../tensor/tensor';
import type { Feeds } from './example';
import { randomNumbers } from './random';

/** Half a unit in the last place of 1 in float32: the largest relative error of one rounding. */
const float32Unit = 2 ** -24;

const samples = 4;

/**
 * The largest error of each output over some evaluations in which every op has random errors of float32's size, the same in every run:
 *
 *     f(x₁ (1 + √n δ), …) · (1 + w δ)        δ within ±2⁻²⁴
 *
 * for an op that sums n products or terms; w is 1, and 4 for functions that runtimes approximate (exp, tanh, erf). Ops are replaced by their
 * definitions, so that cancellation within them is included. The result does not depend on the processor, the number of threads or the order of summation. If a
 * target's kernel is less accurate than float32 (sines on WebGPU), `errorOf` returns the absolute error to add. For another dtype, `unit` is half a unit in
 * its last place.
 */
export function roundingErrors(
  graph: Graph,
  feeds: Feeds,
  options: Pick<InterpretOptions, 'parameters' | 'sizes'>,
  exact: Readonly<Record<string, NDArray>>,
  errorOf: (op: string) => number = () => 0,
  unit = float32Unit,
): Readonly<Record<string, number>> {
  const errors: Record<string, number> = Object.fromEntries(Object.keys(exact).map((name) => [name, 0]));
  for (let sample = 0; sample < samples; sample++) {
    const rounded = interpret(graph, feeds, {
      ...options,
      prefer: 'decompose',
      wrapNode: roundingLike(`sample ${sample}`, errorOf, unit),
    });
    for (const [name, y] of Object.entries(exact)) errors[name] = Math.max(errors[name]!, largestDifference(rounded[name]!, y));
  }
  return errors;
}

/** How many times what {@link roundingErrors} finds a kernel may be off: fused kernels round elsewhere, and approximate functions otherwise. */
const factor = 16;

/**
 * How far each output of a runtime may be from the exact one: sixteen times its rounding errors, at least four units in the last place of the
 * largest element. `allowed` is the absolute error that a target's kernel of an op is allowed, where that is more than float32's.
 */
export function budgetsOf(
  graph: Graph,
  feeds: Feeds,
  options: Pick<InterpretOptions, 'parameters' | 'sizes'>,
  exact: Readonly<Record<string, NDArray>>,
  allowed: (op: string) => number = () => 0,
): Readonly<Record<string, number>> {
  // What a kernel promises is a bound already, so that the factor stays below it: four times the promise for each element.
  const errors = roundingErrors(graph, feeds, options, exact, (op) => (4 * allowed(op)) / factor);
  return Object.fromEntries(
    Object.entries(exact).map(([name, y]) => [name, Math.max(factor * errors[name]!, 4 * lastPlace(largestOf(y)))]),
  );
}

/** The largest absolute value. */
export const largestOf = ({ data }: NDArray): number => data.reduce((most, y) => Math.max(most, Math.abs(y)), 0);
/** A unit in the last place of a float32 of this size. */
const lastPlace = (x: number): number => 2 ** (Math.floor(Math.log2(Math.max(x, 2 ** -126))) - 23);

/** The largest distance of two arrays of the same dims. */
export const largestDifference = (a: NDArray, b: NDArray): number =>
  a.data.reduce((worst, x, i) => Math.max(worst, Math.abs(x - b.data[i]!)), 0);

function roundingLike(name: string, errorOf: (op: string) => number, unit: number): NonNullable<InterpretOptions['wrapNode']> {
  const numbers = randomNumbers(name);
  const rounded = (x: NDArray, relative: number, absolute = 0): NDArray => {
    if (!isFloat(x.dtype)) return x;
    const noise = () => 2 * numbers() - 1;
    return { ...x, data: x.data.map((v) => v * (1 + relative * noise()) + (absolute && absolute * noise())) };
  };
  return (node, operands, compute) => {
    const { op } = node;
    if (op.decompose || op.evaluateWith || exactOps.has(op.key)) return compute(operands);
    const terms = Math.sqrt(summedBy(node, operands));
    const given = terms > 1 ? operands.map((x) => x && rounded(x, terms * unit)) : operands;
    const weight = approximated.has(op.key) ? 4 : 1;
    return compute(given).map((y) => rounded(y, weight * unit, errorOf(op.key)));
  };
}

// Ops that only move or select elements do not round.
const exactOps: ReadonlySet<string> = new Set(
  'Transpose Reshape Squeeze Unsqueeze Slice Concat Split Expand Tile Pad Gather GatherElements GatherND Where Identity Neg Abs Max Min Relu ReduceMax ReduceMin TopK Cast'.split(
    ' ',
  ),
);
const approximated: ReadonlySet<string> = new Set(
  'Exp Log Tanh Erf Sigmoid Softplus Sin Cos Pow Softmax LogSoftmax Sinh Cosh Tan Atan Mish'.split(' '),
);

/** Number of terms that an op sums for one element of its result. */
function summedBy({ op, attrs }: Node, operands: readonly (NDArray | undefined)[]): number {
  const [x, second, third] = operands;
  if (!x) return 1;
  switch (op.key) {
    case 'MatMul':
    case 'Gemm':
      return x.dims.at(-1) ?? 1;
    case 'Conv':
      return second!.dims.slice(1).reduce((a, b) => a * b, 1);
    case 'Softmax':
    case 'LogSoftmax':
    case 'CumSum':
      return x.dims.at(typeof attrs.axis === 'number' ? attrs.axis : -1) ?? 1;
    case 'ScatterND':
    case 'ScatterElements':
      return attrs.reduction === 'add' ? Math.max(1, third!.data.length / Math.max(1, x.data.length)) : 1;
    default:
      return op.key.startsWith('Reduce')
        ? (Array.isArray(attrs.axes) ? attrs.axes : []).reduce((n, a) => n * (x.dims[a] ?? 1), 1)
        : 1;
  }
}
