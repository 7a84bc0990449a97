// Applies an op in a graph: operands are converted, types inferred, constants folded, and the path of the op is added to errors.
import type { Dim } from '../dim/dim';
import { describe, internal, ShapeError } from '../error';
import { Parameter } from '../parameter/parameter';
import { castNumber, toArray, toTensor } from '../tensor/convert';
import { countOf, type DType, isFloat, type NDArray } from '../tensor/tensor';
import { mismatch } from './apply';
import { labelled, type OperandNames, wrongOperands } from './operands';
import { printType, type TensorType } from './tensor-type';
import { type Attrs, type GraphBuilder, type Op, type Operand, Value } from './types';

/** Applies an op to operands of this graph; see {@link GraphBuilder.apply}. */
export function applied(g: GraphBuilder, op: Op, operands: readonly Operand[], attrs: Attrs): readonly Value[] {
  const values = operands.filter((o): o is Value => o instanceof Value);
  const typical = values.find((o) => isFloat(o.dtype)) ?? values.find((o) => o.dtype !== 'bool') ?? values[0];
  const path = `${op.key}${g.where ? ` in ${g.where}` : ''}`;
  const ready = operands.map((o, i) => {
    if (!isOperand(o)) throw notAnOperand(path, i, o);
    return ready1(g, o, typical?.dtype ?? g.dtype, path);
  });
  for (const v of ready) if (v && v.graph.root !== g) throw ofAnotherGraph(path, v);
  while (ready.length && ready.at(-1) === undefined) ready.pop();
  const check = (): readonly Value[] => {
    const wrong = op.operands && wrongOperands(op.operands, ready);
    if (wrong) throw mismatch(wrong.problem, wrong.expected, String(ready.length));
    const simpler = op.simplify?.(ready, attrs, g.ops);
    if (simpler) {
      noteBypassed(g, simpler, ready);
      return [simpler];
    }
    const types = op.infer(ready, attrs);
    return fold(g, op, ready, attrs, types) ?? g.emit(op, ready, attrs, types);
  };
  return located(g, op.key, ready, check, op.operands);
}

/** Runs f and adds the op, the path and the operands, with their names if there are any, to a `mismatch` that it throws. */
export function located<T>(
  g: GraphBuilder,
  key: string,
  operands: readonly (TensorType | undefined)[],
  f: () => T,
  names?: OperandNames,
): T {
  try {
    return f();
  } catch (error) {
    if (!(error instanceof ShapeError) || error.path !== '') throw error;
    const { problem, expected, got, hint } = error;
    const seen = `Operands: ${labelled(names, operands.map(printType))}${hint ? `. ${hint}` : ''}`;
    const path = `${key}${g.where ? ` in ${g.where}` : ''}`;
    throw new ShapeError({ path, problem, ...(expected && { expected }), ...(got && { got }), hint: seen }, { cause: error });
  }
}

// Operands that a simplification bypassed: the simpler value is computed from their operands, so gradients with respect to them cannot reach it.
function noteBypassed(g: GraphBuilder, simpler: Value, operands: readonly (Value | undefined)[]): void {
  if (operands.includes(simpler) || simpler.leaf?.kind === 'constant') return;
  const [behind, used] = [simpler.producer?.operands ?? [], new Set(operands)];
  for (const v of used) if (v?.producer && !behind.includes(v)) g.bypassed.add(v);
}

// What a program without types may pass.
const isOperand = (o: Operand): boolean =>
  o === undefined ||
  typeof o === 'number' ||
  o instanceof Value ||
  o instanceof Parameter ||
  (typeof o === 'object' && o !== null && 'dtype' in o && Array.isArray(o.dims) && ArrayBuffer.isView(o.data));
const notAnOperand = (path: string, index: number, o: unknown): ShapeError =>
  new ShapeError({
    path,
    problem: `operand ${index} is not a value`,
    expected: 'a value, a parameter, a tensor or a number',
    got: describe(o),
  });

const ofAnotherGraph = (path: string, v: Value): ShapeError =>
  new ShapeError({
    path,
    problem: 'an operand is a value of another graph',
    expected: 'values of the graph that is being traced',
    got: String(v),
    hint: 'Return values from the forward function, instead of keeping them from one trace to another',
  });

/** Refuses a number that an integer dtype cannot represent: truncated, it would be another number in silence. */
export function checkNumber(path: string, n: number, dtype: DType): void {
  if (isFloat(dtype) || castNumber(n, 'float64', dtype) === n) return;
  throw new ShapeError({
    path,
    problem: `${n} is not a number of dtype ${dtype}`,
    expected: dtype === 'bool' ? '0 or 1' : 'an integer in the range of the dtype',
    got: String(n),
    hint: "Convert the values beside it first: ops.cast(x, 'float32')",
  });
}

function ready1(g: GraphBuilder, o: Operand, like: DType, path: string): Value | undefined {
  if (o === undefined || o instanceof Value) return o;
  if (o instanceof Parameter) return g.param(o);
  if (typeof o === 'number') {
    checkNumber(path, o, like);
    return g.number(o, like);
  }
  return g.constant(o);
}

// Small constants are folded when a node is made, so shape arithmetic on known sizes never reaches a graph.
function fold(g: GraphBuilder, op: Op, operands: readonly (Value | undefined)[], attrs: Attrs, types: readonly TensorType[]) {
  const small = types.every((t) => t.dims.every((d) => typeof d === 'number') && countOf(t.dims as number[]) <= 64);
  if (!small) return undefined;
  const arrays: (NDArray | undefined)[] = [];
  for (const v of operands) {
    if (v && v.leaf?.kind !== 'constant') return undefined;
    arrays.push(v?.leaf?.kind === 'constant' ? toArray(v.leaf.tensor) : undefined);
  }
  if (arrays.some((a) => a && a.data.length > 64)) return undefined;
  return evaluateKnown(op, arrays, attrs)?.map((a) => g.constant(toTensor(a)));
}

/**
 * The result of an op on constant arrays; undefined if the op has no `evaluate`, needs a size that is known only in a run, or if float64 may not
 * represent its integers exactly.
 */
export function evaluateKnown(op: Op, operands: readonly (NDArray | undefined)[], attrs: Attrs): readonly NDArray[] | undefined {
  if (!op.evaluate || op.impure || op.writes || !isExact(op, operands)) return undefined;
  try {
    const results = op.evaluate(operands, attrs, noSizes);
    return results.every((y) => !wide.has(y.dtype) || y.data.every((n) => Math.abs(n) <= exact)) ? results : undefined;
  } catch (error) {
    if (error === symbolic) return undefined;
    throw error;
  }
}

// Arrays are float64, which represents integers up to 2^53. Ops that move, select or compare elements are exact if each element is; sums and products if
// those of all magnitudes are. Integers of 32 bits and fewer wrap around in the ops themselves.
const wide: ReadonlySet<string> = new Set<DType>(['int64', 'uint64']);
const exact = 2 ** 53 - 1;
const elementwise =
  /^(onnxformers\.)?(Cast|Concat|Equal|Expand|Gather\w*|Greater\w*|Identity|Less\w*|Max|Min|Pad|Reshape|Shape|Slice|Split|Squeeze|Tile|Transpose|Unsqueeze|Where)$/;

/** Whether float64 represents the integers of these operands, and of what the op computes from them, exactly. */
export function isExact(op: Op, operands: readonly (NDArray | undefined)[]): boolean {
  const integers = operands.filter((a) => a && wide.has(a.dtype)) as NDArray[];
  if (elementwise.test(op.key)) return integers.every(({ data }) => data.every((n) => Math.abs(n) <= exact));
  const magnitude = ({ data }: NDArray) => data.reduce((total, n) => total + Math.abs(n), 1);
  return integers.reduce((product, a) => product * magnitude(a), 1) <= exact;
}

const symbolic = internal('a symbolic size was asked for while folding constants');
const noSizes = {
  of(d: Dim): number {
    if (typeof d === 'number') return d;
    throw symbolic;
  },
};
