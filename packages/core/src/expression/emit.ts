// Expressions as values of a graph, over tensors of positions that broadcast to [batch, heads, seq, kv_seq].

import { type Dim, mulDims } from '../dim/dim';
import { printType, type TensorType } from '../ir/define-op';
import { mismatch, type Value } from '../ir/graph';
import type { MaskPositions, MaskSizes } from '../mask/mask';
import { place, placeOf, placesUpTo } from '../mask/places';
import { fitsInt32, functions, rangesOf } from './functions';
import { type Alignment, type Expression, operandsOf, type Step, tableName } from './step';

/** Where an expression is evaluated. */
export interface EmitOptions extends Alignment {
  readonly at: MaskPositions;
  /** [batch, heads, seq, kv_seq] */
  readonly score?: Value;
}

type Lookup = Extract<Step, { readonly op: 'lookup' }>;

/**
 * The value of an expression, which broadcasts to [batch, heads, seq, kv_seq]: bool, an integer, or a float: that of the score, otherwise float32 unless a table is
 * float64.
 */
export function emit(expression: Expression, tables: readonly Value[], { at, align, score }: EmitOptions): Value {
  const { graph } = at;
  const { ops } = graph;
  const { steps } = expression;
  const ranges = rangesOf(expression, tables);
  const real = score?.dtype ?? (tables.some(({ dtype }) => dtype === 'float64') ? 'float64' : 'float32');
  const known: (Value | undefined)[] = [];

  const queries = (): Value => (align === 'topLeft' ? at.queryIndices() : at.queryPositions());
  const value = (i: number): Value => {
    known[i] ??= made(steps[i]!, i);
    return known[i];
  };
  const int = (i: number, wide: boolean): Value => ops.cast(value(i), wide ? 'int64' : 'int32');
  const numbers = (of: readonly number[], type: 'int' | 'float', more: readonly number[] = []): Value[] => {
    if (type === 'float') return of.map((i) => ops.cast(value(i), real));
    const wide = [...of, ...more].some((i) => !fitsInt32(ranges[i]!));
    return of.map((i) => int(i, wide));
  };
  function made(step: Step, i: number): Value {
    switch (step.op) {
      case 'b':
        return at.keySequences();
      case 'h':
        return ops.reshape(placesUpTo(graph, at.heads), [1, at.heads, 1, 1]);
      case 'q':
        return queries();
      case 'k':
        return at.keyPositions();
      case 'score':
        return score!;
      case 'number':
        return graph.number(step.value, step.type === 'float' ? real : fitsInt32(ranges[i]!) ? 'int32' : 'int64');
      case 'lookup':
        return read(step, i);
      default:
        break;
    }
    const { kind, emit: apply } = functions[step.op];
    const { of } = step;
    const type = (j: number) => steps[j]!.type as 'int' | 'float';
    switch (kind) {
      case 'bool':
        return apply(ops, ...of.map(value));
      case 'select':
        return apply(ops, value(of[0]!), ...numbers(of.slice(1), type(i), [i]));
      case 'compare':
        return apply(ops, ...numbers(of, of.some((j) => type(j) === 'float') ? 'float' : 'int'));
      case 'alike':
        return apply(ops, ...numbers(of, type(i), [i]));
      case 'integer':
        return apply(ops, ...numbers(of, 'int'));
      default:
        return apply(ops, ...numbers(of, 'float'));
    }
  }

  /** An element of a table at each place. */
  function read(step: Lookup, i: number): Value {
    const table = tables[step.table]!;
    const element = (x: Value): Value =>
      step.type === 'int' ? int64OrInt32(x, i) : step.type === 'float' ? ops.cast(x, real) : x;
    if (table.rank === 0) return element(ops.reshape(table, [1, 1, 1, 1]));
    const whole = wholeTable(step, table);
    if (whole) return element(whole);
    // The sequence is that of the query where nothing else depends on the key, so that the result is as small as possible.
    const byQuery = dependsOn(step, 'q') && !dependsOn(step, 'k');
    const indices = step.of.map((j) => (steps[j]!.op === 'b' && byQuery ? at.querySequences() : place(value(j))));
    const inside: Value[] = [];
    table.dims.forEach((d, axis) => {
      const op = steps[step.of[axis]!]!.op;
      if (op === 'b' || op === 'h') return;
      const [low, high] = ranges[step.of[axis]!]!;
      if (low < 0) inside.push(ops.greaterOrEqual(indices[axis]!, 0));
      if (!(typeof d === 'number' && high < d)) inside.push(ops.less(indices[axis]!, placeOf(graph, d)));
    });
    const flat = indices.reduce((at, index, axis) => ops.add(ops.mul(at, placeOf(graph, table.dims[axis]!)), index));
    const count = table.dims.reduce<Dim>((n, d) => mulDims(n, d), 1);
    const elements = ops.reshape(table, [count]);
    if (!inside.length) return element(ops.gather(elements, flat, 0));
    // One more element, which is read outside of the table.
    const all = ops.concat([elements, ops.fill(graph, [1], 0, table.dtype)], 0);
    return element(
      ops.gather(
        all,
        ops.where(
          inside.reduce((a, b) => ops.logicalAnd(a, b)),
          flat,
          placeOf(graph, count),
        ),
        0,
      ),
    );
  }
  const int64OrInt32 = (x: Value, i: number): Value => ops.cast(x, fitsInt32(ranges[i]!) ? 'int32' : 'int64');
  const dependsOn = (step: Step, op: 'q' | 'k'): boolean =>
    operandsOf(step).some((j) => steps[j]!.op === op || dependsOn(steps[j]!, op));

  /** The table itself where its axes are those of the scores, with no element looked up. */
  function wholeTable({ of }: Lookup, table: Value): Value | undefined {
    const axes = of.map((j) => order.indexOf(steps[j]!.op));
    if (axes.some((axis, n) => axis < 0 || (n > 0 && axis <= axes[n - 1]!))) return undefined;
    const rows: readonly (Dim | undefined)[] = at.packed
      ? [undefined, at.heads, undefined, undefined]
      : [at.batch, at.heads, align === 'topLeft' || at.startsTogether ? at.allQueries : undefined, at.allKeys];
    if (!axes.every((axis, n) => rows[axis] === table.dims[n])) return undefined;
    const placed = ops.reshape(
      table,
      order.map((_, axis) => (axes.includes(axis) ? rows[axis]! : 1)),
    );
    return at.ofKeyRows(axes.includes(2) ? at.ofRows(placed, 2) : placed, 3);
  }
  const result = value(steps.length - 1);
  return result.rank === 0 ? ops.reshape(result, [1, 1, 1, 1]) : result;
}

const order: readonly string[] = ['b', 'h', 'q', 'k'];

/** @throws ShapeError when a table does not have the sizes of what it is looked up by */
export function checkLookups(
  { steps, align }: Expression & Alignment,
  tables: readonly TensorType[],
  { sequences, heads, seq, kvSeq, packed }: MaskSizes,
): void {
  for (const step of steps) {
    if (step.op !== 'lookup') continue;
    const table = tables[step.table]!;
    step.of.forEach((j, axis) => {
      const { op } = steps[j]!;
      const size = table.dims[axis]!;
      const wrong = (expected: string): Error =>
        mismatch(`axis ${axis} of ${tableName(step.table)} does not fit the index ${op}`, expected, printType(table));
      const exactly = op === 'b' ? sequences : op === 'h' ? heads : undefined;
      if (exactly !== undefined && size !== exactly) throw wrong(String(exactly));
      const least = packed ? undefined : op === 'k' || (op === 'q' && align === undefined) ? kvSeq : op === 'q' ? seq : undefined;
      if (typeof least === 'number' && typeof size === 'number' && size < least) throw wrong(`at least ${least}`);
    });
  }
}
