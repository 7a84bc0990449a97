// Sizes as values: the shape of an array, arithmetic on symbolic sizes, and arrays made from sizes.
import { type Dim, type DimAtom, dim, mulDims, namesOfDim, subDims, termsOf } from '../dim/dim';
import { ShapeError } from '../error';
import { aDtype, aList, aNumber, given, graphOrValue } from '../given';
import { defineOp, noFlops, printType, sameDims } from '../ir/define-op';
import { apply, type GraphBuilder, mismatch, Value } from '../ir/graph';
import { toTensor } from '../tensor/convert';
import type { DType } from '../tensor/tensor';
import { accept, acceptAlike } from './accept';
import { cast } from './cast';
import { equal } from './comparison';
import { add, div, mod, mul, sub } from './elementwise';
import { expand } from './expand';
import { concat } from './join';
import { reshape, unsqueeze } from './reshape';

type Source = GraphBuilder | Value;
const graphOf = (source: Source): GraphBuilder => (source instanceof Value ? source.graph : source).root;

// ---- The shape of a value -------------------------------------------------------------------------------------------

type ShapeAttrs = { readonly start?: number; readonly end?: number };

/** ONNX Shape. */
export const Shape = defineOp<ShapeAttrs>({
  key: 'Shape',
  flops: noFlops,
  since: 15,
  attributes: { start: 'int', end: 'int' },
  infer: ([x], { start, end }) => [{ dtype: 'int64', dims: [accept(x, 'any').dims.slice(start, end).length] }],
  simplify([x], { start, end }) {
    const part = x!.dims.slice(start, end);
    return part.every((d) => typeof d === 'number') ? x!.graph.number(part, 'int64') : undefined;
  },
  vjp: 'nonDifferentiable',
  evaluate([x], { start, end }) {
    const part = x!.dims.slice(start, end);
    return [{ dtype: 'int64', dims: [part.length], data: Float64Array.from(part) }];
  },
});

/**
 * The sizes of x, or those of the axes from `start` to before `end`.
 *
 * Shapes   x any → int64 [rank], or [end − start]
 * Throws   nothing
 * Lowers   everywhere: Shape
 */
export const shapeOf = (x: Value, start?: number, end?: number): Value =>
  apply(Shape, [x], { ...(start !== undefined && { start }), ...(end !== undefined && { end }) })[0]!;

/**
 * The value of a symbolic size at run time. See {@link sizes}.
 *
 * Shapes   → int64 []
 * Throws   ShapeError when no axis determines the name
 * Lowers   everywhere: Shape
 */
export const size = (source: Source, d: Dim, near: readonly Value[] = []): Value => {
  given('size', { source, near }, { source: graphOrValue, near: aList });
  return reshape(sizes(source, [d], near), []);
};

/**
 * Sizes as int64 [n], as ONNX requires for shapes, starts and repeats; a constant when all are numbers. A name is read from an axis of an input of
 * the graph that has it as its size, or solved for from a size in which it occurs once (`2*n + 1`, `past + seq`).
 *
 * Shapes   n dims → int64 [n]
 * Throws   ShapeError when no axis determines a name
 * Lowers   everywhere: Shape, Concat
 * Example  const shape = ops.sizes(g, ['batch', 'seq', 5]);
 *
 * @param near further values whose axes may bind a name that no input has
 */
export function sizes(source: Source, dims: readonly Dim[], near: readonly Value[] = []): Value {
  given('sizes', { source, dims, near }, { source: graphOrValue, dims: aList, near: aList });
  const g = graphOf(source);
  const canonical = dims.map(dim);
  if (canonical.every((d) => typeof d === 'number')) return g.number(canonical, 'int64');
  return concat(piecesOf(new Binding(g, near), canonical), 0);
}

// Consecutive numbers become one constant, consecutive axes of one value one Shape.
function piecesOf(binding: Binding, dims: readonly Dim[]): Value[] {
  const pieces: Value[] = [];
  for (let i = 0; i < dims.length; ) {
    const run = typeof dims[i] === 'number' ? numbersFrom(dims, i) : binding.axesFrom(dims, i);
    pieces.push(Array.isArray(run) ? binding.graph.number(run, 'int64') : (run?.value ?? binding.size(dims[i]!)));
    i += Array.isArray(run) ? run.length : (run?.length ?? 1);
  }
  return pieces;
}

function numbersFrom(dims: readonly Dim[], from: number): number[] {
  const end = dims.findIndex((d, i) => i > from && typeof d !== 'number');
  return dims.slice(from, end < 0 ? undefined : end) as number[];
}

/** Finds where sizes can be read, and computes with them as int64 [1]. */
class Binding {
  private readonly values: readonly Value[];
  constructor(
    readonly graph: GraphBuilder,
    near: readonly Value[],
  ) {
    const inRun = [...graph.runSizes.values()].flatMap(({ values }) => values);
    this.values = [...graph.inputs, ...near, ...inRun.filter((v) => graph.reaches(v)).toReversed()];
  }

  /** The longest sequence of sizes from here on that are those of consecutive axes of one value. */
  axesFrom(dims: readonly Dim[], from: number): { readonly value: Value; readonly length: number } | undefined {
    const value = this.values.find((v) => v.dims.includes(dims[from]!));
    if (!value) return undefined;
    const axis = value.dims.indexOf(dims[from]!);
    let length = 1;
    while (typeof dims[from + length] === 'string' && dims[from + length] === value.dims[axis + length]) length++;
    return { value: shapeOf(value, axis, axis + length), length };
  }
  size(d: Dim): Value {
    if (typeof d === 'number') return this.graph.number([d], 'int64');
    const whole = this.axesFrom([d], 0);
    if (whole) return whole.value;
    const [first, ...others] = termsOf(d).map((t) => ({ ...t, product: this.product(t.atoms) }));
    return others.reduce(
      (sum, { coefficient, product }) =>
        coefficient < 0 ? sub(sum, mul(product, -coefficient)) : add(sum, mul(product, coefficient)),
      mul(first!.product, first!.coefficient),
    );
  }

  private product(atoms: readonly DimAtom[]): Value {
    return atoms.map((atom) => this.atom(atom)).reduce((a, b) => mul(a, b), this.graph.number([1], 'int64'));
  }
  private atom(atom: DimAtom): Value {
    if (atom.kind === 'name') return this.axesFrom([atom.name], 0)?.value ?? this.solved(atom.name);
    const [numerator, divisor] = [this.size(atom.numerator), this.size(atom.divisor)];
    // Div rounds towards zero, which differs from the floor where a numerator can be negative.
    const neverNegative = termsOf(atom.numerator).every((t) => t.coefficient > 0);
    return div(neverNegative ? numerator : sub(numerator, mod(numerator, divisor)), divisor);
  }
  private solved(name: string): Value {
    for (const d of this.values.flatMap((v) => v.dims)) {
      const equation = isolated(d, name);
      if (!equation || !this.readable(equation.others)) continue;
      return div(sub(this.axesFrom([d], 0)!.value, this.size(equation.others)), equation.factor);
    }
    throw new ShapeError({
      path: '',
      problem: `the size ${name} cannot be read at run time`,
      expected: 'the size of an axis of an input of the graph',
      got: this.values.length ? `inputs ${this.values.map(printType).join(', ')}` : 'a graph without inputs',
      hint: 'Declare an input with an axis of this size, or use one of the available sizes',
    });
  }
  private readable(d: Dim): boolean {
    return namesOfDim(d).every((n) => this.values.some((v) => v.dims.includes(n)));
  }
}

/** `d = factor * name + others`, with a constant factor and others free of the name. */
function isolated(d: Dim, name: string): { readonly factor: number; readonly others: Dim } | undefined {
  const own = termsOf(d).filter(({ atoms }) => atoms.length === 1 && atoms[0]!.kind === 'name' && atoms[0]!.name === name);
  if (own.length !== 1) return undefined;
  const others = subDims(d, mulDims(own[0]!.coefficient, name));
  return namesOfDim(others).includes(name) ? undefined : { factor: own[0]!.coefficient, others };
}

// ---- Arrays made from sizes -----------------------------------------------------------------------------------------

type RangeAttrs = { readonly length: Dim };

const rangeOperands = ['start', 'limit', 'delta'] as const;
/** ONNX Range. Operands: first number, end (exclusive), step; all []. */
export const Range = defineOp<RangeAttrs, typeof rangeOperands>({
  key: 'Range',
  operands: rangeOperands,
  flops: noFlops,
  since: 11,
  attributes: { length: 'data' },
  infer(operands, { length }) {
    const [start] = acceptAlike(operands, 'number');
    const long = operands.find((o) => o!.dims.length > 0);
    if (long) throw mismatch('start, end and step are scalars', '[]', printType(long));
    return [{ dtype: start!.dtype, dims: [length] }];
  },
  vjp: 'nonDifferentiable',
  evaluate([start, end, step]) {
    const [first, limit, delta] = [start!, end!, step!].map((o) => o.data[0]!) as [number, number, number];
    const length = Math.max(0, Math.ceil((limit - first) / delta));
    return [{ dtype: start!.dtype, dims: [length], data: Float64Array.from({ length }, (_, i) => first + i * delta) }];
  },
});

/** Longer ranges are computed in the run instead of being kept in the file. */
const largestRange = 65_536;

/**
 * The numbers 0, 1, … A constant when the length is a number up to 65,536.
 *
 * Shapes   → [length]
 * Throws   ShapeError when the length cannot be read from the graph’s inputs
 * Lowers   everywhere: Range
 * Example  const positions = ops.iota(g, 'seq');
 */
export function iota(source: Source, length: Dim, dtype: DType = 'int64'): Value {
  given('iota', { source, dtype }, { source: graphOrValue, dtype: aDtype });
  const g = graphOf(source);
  const n = dim(length);
  if (typeof n === 'number' && n <= largestRange)
    return g.constant(toTensor({ dtype, dims: [n], data: Float64Array.from({ length: n }, (_, i) => i) }));
  const counted = dtype === 'int32' ? dtype : 'int64';
  const end = typeof n === 'number' ? g.number(n, counted) : cast(size(g, n), counted);
  const range = apply(Range, [g.number(0, counted), end, g.number(1, counted)], { length: n })[0]!;
  return cast(range, dtype);
}

/**
 * A value whose elements are all equal: an expanded scalar, so that ops that broadcast read the scalar.
 *
 * Shapes   → dims
 * Throws   ShapeError when a size cannot be read from the graph’s inputs
 * Lowers   everywhere: Expand
 * Example  const zeros = ops.fill(g, ['batch', 7], 0, 'float32');
 */
export const fill = (source: Source, dims: readonly Dim[], value: number, dtype: DType): Value => {
  given('fill', { source, dims, value }, { source: graphOrValue, dims: aList, value: aNumber });
  return expand(graphOf(source).number(value, dtype), dims);
};

/** Larger identity matrices are computed at run time instead of being stored in the file. */
const largestTable = 256;

/**
 * The identity matrix.
 *
 * Shapes   → [n, n]
 * Throws   ShapeError when n cannot be read from the graph’s inputs
 * Lowers   everywhere: Range, Equal, Cast
 */
export function eye(source: Source, n: Dim, dtype: DType): Value {
  given('eye', { source, dtype }, { source: graphOrValue, dtype: aDtype });
  const g = graphOf(source);
  if (typeof n !== 'number' || n > largestTable) {
    const index = iota(g, n);
    return cast(equal(unsqueeze(index, [1]), unsqueeze(index, [0])), dtype);
  }
  const data = new Float64Array(n * n);
  for (let i = 0; i < n; i++) data[i * (n + 1)] = 1;
  return g.constant(toTensor({ dtype, dims: [n, n], data }));
}

// ---- Claims ---------------------------------------------------------------------------------------------------------

type RefineAttrs = { readonly dims: readonly Dim[] };

/** The high-level op: x, with other sizes that are known to be equal. Lowered to a Reshape whose shape is invalid when they are not. */
export const Refine = defineOp<RefineAttrs>({
  key: 'onnxformers.Refine',
  flops: noFlops,
  attributes: { dims: 'data' },
  infer([x], { dims }) {
    const { dtype, dims: before } = accept(x, 'any');
    if (before.length !== dims.length)
      throw mismatch('a claim must name every axis', `${before.length} sizes`, String(dims.length));
    const wrong = dims.findIndex((d, i) => typeof d === 'number' && typeof before[i] === 'number' && d !== before[i]);
    if (wrong >= 0) throw mismatch(`axis ${wrong} has another size`, String(before[wrong]), String(dims[wrong]));
    return [{ dtype, dims }];
  },
  simplify: ([x], { dims }) => (sameDims(x!.dims, dims) ? x : undefined),
  decompose([x], { dims }, { OnnxReshape, equal, where }) {
    const actual = shapeOf(x!);
    const claimed = sizes(x!, dims);
    const checked = where(equal(actual, claimed), claimed, x!.graph.number([impossible], 'int64'));
    return apply(OnnxReshape, [x, checked], { dims, allowzero: 1, claimed: true });
  },
  vjp: ({ operands: [x] }, [grad]) => [grad && refine(grad, x!.dims)],
  evaluate([x], { dims }, bound) {
    const claimed = dims.map((d) => bound.of(d));
    if (sameDims(claimed, x!.dims)) return [x!];
    throw mismatch('the claimed sizes are not the actual sizes', `[${dims.join(', ')}] = [${claimed}]`, `[${x!.dims}]`);
  },
});

/** No Reshape accepts this size. */
const impossible = -2;

/**
 * x, known to have these sizes. Use it where two sizes are known to be equal although their dims differ. The claim is
 * checked when the graph runs: a Reshape then fails with an invalid size of -2.
 *
 * Shapes   x [batch, past], dims [batch, seq] → [batch, seq]
 * Throws   ShapeError when the rank or a known size differs, or a size cannot be read from the graph's inputs
 * Lowers   everywhere: Reshape
 */
export const refine = (x: Value, dims: readonly Dim[]): Value => {
  given('refine', { x, dims }, { dims: aList });
  return apply(Refine, [x], { dims: dims.map(dim) })[0]!;
};
