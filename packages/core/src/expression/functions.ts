// The functions that expressions are made of, and the values that their results may have.
import type { Value, Vocabulary } from '../ir/graph';
import type { Expression, FunctionName, Step } from './step';

/** The least and the greatest value. */
export type Range = readonly [low: number, high: number];

/** Everything about one function. */
interface Definition {
  /** `alike`: integers of integers, floats if one is a float. `float`: floats of either. `integer`, `bool`: of these only. `compare`: bool of alike numbers. */
  readonly kind: 'alike' | 'float' | 'integer' | 'bool' | 'compare' | 'select' | 'floor';
  readonly value: (...x: number[]) => number;
  readonly emit: (ops: Vocabulary, ...x: Value[]) => Value;
  /** Of numbers; default any. */
  readonly range?: (...x: Range[]) => Range;
  /** As text, with the strength of its binding; operands that bind less are put in parentheses. */
  readonly text: readonly [binds: number, print: (...x: string[]) => string];
}

/** How strongly texts bind. */
export const binding = { or: 1, and: 2, not: 3, compare: 4, sum: 5, product: 6, sign: 7, atom: 8 } as const;
const infix = (binds: number, sign: string): Definition['text'] => [binds, (a, b) => `${a} ${sign} ${b}`];
const named = (name: string): Definition['text'] => [binding.atom, (...x) => `${name}(${x.join(', ')})`];

const everything: Range = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
/** A product of bounds: 0 times an open bound is 0. */
const times = (a: number, b: number): number => (a === 0 || b === 0 ? 0 : a * b);
const hull = (...x: number[]): Range => [Math.min(...x), Math.max(...x)];
const magnitude = ([low, high]: Range): Range =>
  low < 0 && high > 0 ? [0, Math.max(-low, high)] : hull(Math.abs(low), Math.abs(high));
const largestInt32 = 2 ** 31 - 1;
const toInt32 = (x: number): number => Math.max(-largestInt32, Math.min(largestInt32, Math.floor(x)));

const comparison = (sign: string, holds: (a: number, b: number) => boolean, emit: Definition['emit']): Definition => ({
  kind: 'compare',
  value: (a, b) => Number(holds(a!, b!)),
  emit,
  text: infix(binding.compare, sign),
});

/** The functions that expressions are made of. To add one: an entry here, its name, and a method of `Term` or `Condition`. */
export const functions: Readonly<Record<FunctionName, Definition>> = {
  neg: {
    kind: 'alike',
    value: (a) => -a!,
    emit: (o, a) => o.neg(a!),
    range: ([low, high]) => [-high, -low],
    text: [binding.sign, (a) => `-${a}`],
  },
  abs: {
    kind: 'alike',
    value: (a) => Math.abs(a!),
    emit: (o, a) => o.abs(a!),
    range: magnitude,
    text: [binding.atom, (a) => `|${a}|`],
  },
  add: {
    kind: 'alike',
    value: (a, b) => a! + b!,
    emit: (o, a, b) => o.add(a!, b!),
    range: (a, b) => [a[0] + b[0], a[1] + b[1]],
    text: infix(binding.sum, '+'),
  },
  sub: {
    kind: 'alike',
    value: (a, b) => a! - b!,
    emit: (o, a, b) => o.sub(a!, b!),
    range: (a, b) => [a[0] - b[1], a[1] - b[0]],
    text: infix(binding.sum, '-'),
  },
  mul: {
    kind: 'alike',
    value: (a, b) => a! * b!,
    emit: (o, a, b) => o.mul(a!, b!),
    range: (a, b) => hull(...a.flatMap((x) => b.map((y) => times(x, y)))),
    text: infix(binding.product, '*'),
  },
  min: {
    kind: 'alike',
    value: Math.min,
    emit: (o, a, b) => o.min(a!, b!),
    range: (a, b) => [Math.min(a[0], b[0]), Math.min(a[1], b[1])],
    text: named('min'),
  },
  max: {
    kind: 'alike',
    value: Math.max,
    emit: (o, a, b) => o.max(a!, b!),
    range: (a, b) => [Math.max(a[0], b[0]), Math.max(a[1], b[1])],
    text: named('max'),
  },
  div: { kind: 'float', value: (a, b) => a! / b!, emit: (o, a, b) => o.div(a!, b!), text: infix(binding.product, '/') },
  exp: {
    kind: 'float',
    value: Math.exp,
    emit: (o, a) => o.exp(a!),
    range: ([low, high]) => [Math.exp(low), Math.exp(high)],
    text: named('exp'),
  },
  log: { kind: 'float', value: Math.log, emit: (o, a) => o.log(a!), text: named('log') },
  sqrt: { kind: 'float', value: Math.sqrt, emit: (o, a) => o.sqrt(a!), text: named('sqrt') },
  tanh: { kind: 'float', value: Math.tanh, emit: (o, a) => o.tanh(a!), range: () => [-1, 1], text: named('tanh') },
  floor: {
    kind: 'floor',
    value: (a) => Math.floor(a!),
    emit: (o, a) => o.cast(o.floor(a!), 'int32'),
    range: ([low, high]) => [toInt32(low), toInt32(high)],
    text: named('floor'),
  },
  // The divisor of the next two is a positive integer, known when the expression is made.
  floorDiv: {
    kind: 'integer',
    value: (a, n) => Math.floor(a! / n!),
    // The runtime's division rounds towards 0, its remainder is not negative.
    emit: (o, a, n) => o.div(o.sub(a!, o.mod(a!, n!)), n!),
    range: (a, n) => [Math.floor(a[0] / n[0]), Math.floor(a[1] / n[0])],
    text: infix(binding.product, '//'),
  },
  mod: {
    kind: 'integer',
    value: (a, n) => a! - n! * Math.floor(a! / n!),
    emit: (o, a, n) => o.mod(a!, n!),
    range: (a, n) => (a[0] >= 0 && a[1] < n[0] ? a : [0, n[0] - 1]),
    text: infix(binding.product, 'mod'),
  },
  lt: comparison(
    '<',
    (a, b) => a < b,
    (o, a, b) => o.less(a!, b!),
  ),
  le: comparison(
    '<=',
    (a, b) => a <= b,
    (o, a, b) => o.lessOrEqual(a!, b!),
  ),
  gt: comparison(
    '>',
    (a, b) => a > b,
    (o, a, b) => o.greater(a!, b!),
  ),
  ge: comparison(
    '>=',
    (a, b) => a >= b,
    (o, a, b) => o.greaterOrEqual(a!, b!),
  ),
  eq: comparison(
    '==',
    (a, b) => a === b,
    (o, a, b) => o.equal(a!, b!),
  ),
  ne: comparison(
    '!=',
    (a, b) => a !== b,
    (o, a, b) => o.logicalNot(o.equal(a!, b!)),
  ),
  and: {
    kind: 'bool',
    value: (a, b) => Number(a && b),
    emit: (o, a, b) => o.logicalAnd(a!, b!),
    text: infix(binding.and, 'and'),
  },
  or: { kind: 'bool', value: (a, b) => Number(a || b), emit: (o, a, b) => o.logicalOr(a!, b!), text: infix(binding.or, 'or') },
  not: { kind: 'bool', value: (a) => Number(!a), emit: (o, a) => o.logicalNot(a!), text: [binding.not, (a) => `not ${a}`] },
  select: {
    kind: 'select',
    value: (c, a, b) => (c ? a! : b!),
    emit: (o, c, a, b) => o.where(c!, a!, b!),
    range: (_, a, b) => [Math.min(a[0], b[0]), Math.max(a[1], b[1])],
    text: named('where'),
  },
};

/** The positions of longer sequences do not fit in any memory. */
const mostPositions = 2 ** 26;

const longIntegers: ReadonlySet<string> = new Set(['int64', 'uint64', 'uint32']);

/** What is known about tables: their dtypes. */
type Tables = readonly { readonly dtype: string }[];

/** The values that each number of an expression may have; positions of queries are negative where there are more queries than keys. */
export function rangesOf({ steps }: Expression, tables: Tables): readonly Range[] {
  const ranges: Range[] = [];
  for (const step of steps) ranges.push(rangeOf(step, ranges, tables));
  return ranges;
}

function rangeOf(step: Step, known: readonly Range[], tables: Tables): Range {
  switch (step.op) {
    case 'b':
    case 'h':
    case 'k':
      return [0, mostPositions];
    case 'q':
      return [-mostPositions, mostPositions];
    case 'score':
      return everything;
    case 'number':
      return [step.value, step.value];
    case 'lookup': {
      if (step.type !== 'int') return everything;
      const most = longIntegers.has(tables[step.table]!.dtype) ? 2 ** 53 : largestInt32;
      return [-most, most];
    }
    default:
      return functions[step.op].range?.(...step.of.map((i) => known[i]!)) ?? everything;
  }
}

/** Integers outside of these need 64 bits. */
export const fitsInt32 = ([low, high]: Range): boolean => low >= -largestInt32 && high <= largestInt32;
/** Integers outside of these have no dtype. */
export const fitsInt64 = ([low, high]: Range): boolean => low >= -(2 ** 62) && high <= 2 ** 62;
