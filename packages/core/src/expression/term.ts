// Numbers and conditions that depend on the place of a query and a key: what the function of a mask or a score modification computes with.

import type { Dim } from '../dim/dim';
import { ConfigError, describe, ShapeError } from '../error';
import { type DType, isFloat } from '../tensor/tensor';
import { functions } from './functions';
import type { FunctionName, Place, StepType } from './step';

/** Data that an expression looks up: a tensor, or a value of a graph. */
export interface Table {
  readonly dtype: DType;
  readonly dims: readonly Dim[];
}

/** A node of an expression while its function runs. */
export type Tree<V = unknown> =
  | { readonly op: Place; readonly type: 'int' | 'float' }
  | { readonly op: 'number'; readonly type: 'int' | 'float'; readonly value: number }
  | { readonly op: 'lookup'; readonly type: StepType; readonly table: V; readonly of: readonly Tree<V>[] }
  | { readonly op: FunctionName; readonly type: StepType; readonly of: readonly Tree<V>[] };

/** One call of a function: the conditions that it made, of which none may be forgotten. */
export interface Call {
  readonly name: string;
  readonly conditions: Condition<unknown>[];
}

/** Something that depends on the place of a query and a key. */
abstract class Formula<V> {
  /** @internal */
  constructor(
    /** @internal */
    readonly tree: Tree<V>,
    /** @internal */
    readonly call: Call | undefined,
  ) {}

  /** JavaScript's own operators would compute with the object, not with what it stands for. */
  [Symbol.toPrimitive](): never {
    throw new ConfigError({
      path: this.call?.name ?? 'lookup',
      problem: 'an operator of JavaScript was applied to an expression',
      expected: 'methods: q.ge(k) instead of q >= k, q.sub(k) instead of q - k, a.and(b) instead of a && b',
    });
  }
}

/**
 * A number for each pair of a query and a key: an index, a score, or computed from them. Operands are terms and numbers; integers stay integers, except in `div`
 * and in functions of floats.
 */
export class Term<out V = never> extends Formula<V> {
  // Distinguishes the type from that of a condition.
  declare readonly number: true;

  /** The sum. */
  add<W = never>(other: Term<W> | number): Term<V | W> {
    return term('add', this, other);
  }
  /** The difference. */
  sub<W = never>(other: Term<W> | number): Term<V | W> {
    return term('sub', this, other);
  }
  /** The product. */
  mul<W = never>(other: Term<W> | number): Term<V | W> {
    return term('mul', this, other);
  }
  /** The quotient as a float, of integers too. */
  div<W = never>(other: Term<W> | number): Term<V | W> {
    return term('div', this, other);
  }
  /** ⌊this / divisor⌋ of an integer; the divisor is a positive integer. */
  floorDiv(divisor: number): Term<V> {
    return term('floorDiv', this, divisor);
  }
  /** The remainder of an integer, from 0 to divisor − 1; the divisor is a positive integer. */
  mod(divisor: number): Term<V> {
    return term('mod', this, divisor);
  }
  /** The smaller one. */
  min<W = never>(other: Term<W> | number): Term<V | W> {
    return term('min', this, other);
  }
  /** The larger one. */
  max<W = never>(other: Term<W> | number): Term<V | W> {
    return term('max', this, other);
  }
  /** The number with the opposite sign. */
  neg(): Term<V> {
    return term('neg', this);
  }
  /** The absolute value. */
  abs(): Term<V> {
    return term('abs', this);
  }
  /** The exponential function, as a float. */
  exp(): Term<V> {
    return term('exp', this);
  }
  /** The natural logarithm, as a float. */
  log(): Term<V> {
    return term('log', this);
  }
  /** The square root, as a float. */
  sqrt(): Term<V> {
    return term('sqrt', this);
  }
  /** The hyperbolic tangent, as a float. */
  tanh(): Term<V> {
    return term('tanh', this);
  }
  /** The largest integer that is not greater, as an integer. */
  floor(): Term<V> {
    return term('floor', this);
  }
  /** True where this is less than `other`. */
  lt<W = never>(other: Term<W> | number): Condition<V | W> {
    return condition('lt', this, other);
  }
  /** True where this is less than or equal to `other`. */
  le<W = never>(other: Term<W> | number): Condition<V | W> {
    return condition('le', this, other);
  }
  /** True where this is greater than `other`. */
  gt<W = never>(other: Term<W> | number): Condition<V | W> {
    return condition('gt', this, other);
  }
  /** True where this is greater than or equal to `other`. */
  ge<W = never>(other: Term<W> | number): Condition<V | W> {
    return condition('ge', this, other);
  }
  /** True where both are equal. */
  eq<W = never>(other: Term<W> | number): Condition<V | W> {
    return condition('eq', this, other);
  }
  /** True where they differ. */
  ne<W = never>(other: Term<W> | number): Condition<V | W> {
    return condition('ne', this, other);
  }
}

/**
 * True or false for each pair of a query and a key. Use `and`, `or`, `not` and `select`: JavaScript's `a && b` would return one of the two, which is noticed if the
 * other was computed. `a || b` never computes `b`, which cannot be noticed.
 */
export class Condition<out V = never> extends Formula<V> {
  // Distinguishes the type from that of a number.
  declare readonly condition: true;

  /** True where both are true. */
  and<W = never>(other: Condition<W>): Condition<V | W> {
    return condition('and', this, other);
  }
  /** True where at least one is true. */
  or<W = never>(other: Condition<W>): Condition<V | W> {
    return condition('or', this, other);
  }
  /** True where this is false. */
  not(): Condition<V> {
    return condition('not', this);
  }
  /** `yes` where the condition is true, `no` elsewhere. In a score modification one of them may be −∞, which hides the key. */
  select<W = never, X = never>(yes: Term<W> | number, no: Term<X> | number): Term<V | W | X> {
    return term('select', this, yes, no);
  }
}

/**
 * The number in a table at some indices, in the function of a mask or a score modification: `table[i, j, …]`. The table is a tensor, or a value of the graph, with
 * an axis for each index.
 *
 * Shapes   an axis by the sequence `b` or the head `h` has their number; any other index outside of the table gives 0
 * Dtypes   integers stay integers, 16-bit floats become float32
 * Throws   ShapeError for a table of another rank or of bools, and for an index that is not an integer
 * Lowers   everywhere: Gather; Reshape where the axes of the table are those of the scores
 * Example  const slopes = tensor('float32', [4], [0.5, 0.25, 0.125, 0.0625]);
 *            const near = maskMod((_b, h, q, k) => q.sub(k).abs().mul(lookup(slopes, h)).lt(8));
 */
export function lookup<V extends Table, W = never>(table: V, ...indices: readonly (Term<W> | number)[]): Term<V | W> {
  const type = typeOf(table);
  if (type === 'bool') throw wrongTable('a table of bools has no numbers', 'lookupFlag', table);
  return new Term<V | W>(lookedUp<V | W>(table, type, indices), callOf(indices));
}

/**
 * The flag in a table of bools at some indices, as {@link lookup}.
 *
 * Shapes   as {@link lookup}; an index outside of the table gives false
 * Throws   ShapeError for a table of another rank or dtype, and for an index that is not an integer
 * Lowers   as {@link lookup}
 * Example  const keep = tensor('bool', [2, 3], [1, 1, 0, 1, 1, 1]);
 *            const mask = maskMod((b, _h, q, k) => lookupFlag(keep, b, k).or(q.eq(k)));
 */
export function lookupFlag<V extends Table, W = never>(table: V, ...indices: readonly (Term<W> | number)[]): Condition<V | W> {
  const type = typeOf(table);
  if (type !== 'bool') throw wrongTable('a table of numbers has no flags', 'lookup', table);
  return registered(new Condition<V | W>(lookedUp<V | W>(table, type, indices), callOf(indices)));
}

function typeOf(table: Table): StepType {
  if (!Array.isArray(table?.dims))
    throw new ShapeError({ path: 'lookup', problem: 'the table is missing', got: describe(table) });
  return table.dtype === 'bool' ? 'bool' : isFloat(table.dtype) ? 'float' : 'int';
}
const wrongTable = (problem: string, use: string, { dtype, dims }: Table): ShapeError =>
  new ShapeError({ path: 'lookup', problem, expected: use, got: `${dtype}[${dims.join(', ')}]` });

function lookedUp<V>(table: Table, type: StepType, indices: readonly (Term<unknown> | number)[]): Tree<V> {
  if (table.dims.length !== indices.length)
    throw wrongTable('a table has another number of axes', `${indices.length} axes, one for each index`, table);
  const of = indices.map((index) => treeOf('lookup', index));
  const other = of.find((index) => index.type !== 'int');
  if (other)
    throw new ShapeError({ path: 'lookup', problem: 'an index is not an integer', got: other.type, hint: 'Use floor()' });
  return { op: 'lookup', type, table: table as V, of: of as readonly Tree<V>[] };
}

/** A place of a call. */
export const placeIn = (call: Call, op: Place): Term => new Term<never>({ op, type: op === 'score' ? 'float' : 'int' }, call);

type Operand = Formula<unknown> | number;

function term<V>(op: FunctionName, ...operands: readonly Operand[]): Term<V> {
  return new Term<V>(made(op, operands), callOf(operands));
}
function condition<V>(op: FunctionName, ...operands: readonly Operand[]): Condition<V> {
  return registered(new Condition<V>(made(op, operands), callOf(operands)));
}
function registered<V>(c: Condition<V>): Condition<V> {
  c.call?.conditions.push(c);
  return c;
}

function made<V>(op: FunctionName, operands: readonly Operand[]): Tree<V> {
  const of = operands.map((x) => treeOf(op, x) as Tree<V>);
  const { kind } = functions[op];
  const numbers = kind === 'select' ? of.slice(1) : of;
  const wrong = of.find(({ type }, i) => (type === 'bool') !== (kind === 'bool' || (kind === 'select' && i === 0)));
  if (wrong) throw misuse(op, kind === 'bool' ? 'an operand is a number' : 'an operand is a condition', wrong.type);
  if (kind === 'integer') {
    const [x, divisor] = of;
    if (x!.type !== 'int') throw misuse(op, 'it is defined for integers only', x!.type, 'Use floor()');
    if (divisor!.op !== 'number' || divisor!.type !== 'int' || divisor!.value < 1)
      throw misuse(op, 'the divisor is not a positive integer', divisor!.op === 'number' ? String(divisor!.value) : divisor!.op);
  }
  if (op !== 'select' && of.some((x) => x.op === 'number' && !Number.isFinite(x.value)))
    throw misuse(op, 'a number is not finite', 'infinity', 'Use −∞ only as a branch of select, where it hides a key');
  return { op, type: resultType(kind, numbers), of };
}

function resultType(kind: (typeof functions)[FunctionName]['kind'], numbers: readonly Tree[]): StepType {
  if (kind === 'compare' || kind === 'bool') return 'bool';
  if (kind === 'integer' || kind === 'floor') return 'int';
  if (kind === 'float') return 'float';
  return numbers.some(({ type }) => type === 'float') ? 'float' : 'int';
}

function treeOf(op: string, x: unknown): Tree {
  if (x instanceof Formula) return x.tree;
  if (typeof x !== 'number' || Number.isNaN(x) || x === Number.POSITIVE_INFINITY)
    throw misuse(op, 'an operand is not an expression and not a number', describe(x));
  return { op: 'number', type: Number.isSafeInteger(x) ? 'int' : 'float', value: x };
}

function callOf(operands: readonly unknown[]): Call | undefined {
  const calls = new Set(operands.flatMap((x) => (x instanceof Formula && x.call ? [x.call] : [])));
  if (calls.size > 1)
    throw misuse('an expression', 'its operands are from different functions', [...calls].map((c) => c.name).join(', '));
  return [...calls][0];
}

const misuse = (path: string, problem: string, got: string, hint?: string): ConfigError =>
  new ConfigError({ path, problem, got, ...(hint && { hint }) });
