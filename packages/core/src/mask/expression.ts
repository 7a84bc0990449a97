// A condition on the place of a query and a key that no other class expresses.
import { checkLookups, emit } from '../expression/emit';
import { evaluate } from '../expression/evaluate';
import { reads } from '../expression/part';
import { printExpression } from '../expression/print';
import { type Alignment, type Expression, type Traced, tableName } from '../expression/step';
import type { TensorType } from '../ir/define-op';
import { defineMask, type KnownSizes, type Mask } from './mask';
import { recognize } from './recognize';

/** Options of an expression mask. */
export interface ExpressionOptions extends Expression, Alignment {}

const tablesOf = <V>(operands: Readonly<Record<string, V>>): readonly V[] =>
  Object.keys(operands).map((_, i) => operands[tableName(i)]!);

/** The class of masks that {@link maskMod} makes where no other class is equal. */
export const expressionMask = defineMask<string, ExpressionOptions>({
  name: 'expression',
  // Its indices are those of sequences and positions.
  ofSequences: () => true,
  comparesPositions: (mask) => reads(mask.options, 'q'),
  measuresDistance: (mask) => reads(mask.options, 'q') && reads(mask.options, 'k'),
  check: ({ operands, options }, sizes) => checkLookups(options, tablesOf(operands), sizes),
  allows({ operands, options }, { head, from, to }) {
    const q = options.align === 'topLeft' ? from.index : from.position;
    return evaluate(options, tablesOf(operands), { b: to.sequence, h: head, q, k: to.position, score: Number.NaN }) !== 0;
  },
  tensor: ({ operands, options }, at) => emit(options, tablesOf(operands), { ...options, at }),
  atSizes: <V extends TensorType>({ operands, options }: Mask<V, string, ExpressionOptions>, sizes: KnownSizes): Mask<V> => {
    const { align, steps } = options;
    const counted = sizes.startsTogether ? {} : { ...(align && { align }) };
    return recognize({ steps, tables: tablesOf(operands) }, { ...counted, sizes, leaf: (e) => expressionOf(e, counted) });
  },
  print: ({ options }) => `expression(${printExpression(options)})`,
});

/** The mask of an expression. */
export const expressionOf = <V>({ steps, tables }: Traced<V>, { align }: Alignment): Mask<V> =>
  expressionMask({
    operands: Object.fromEntries(tables.map((table, i) => [tableName(i), table])),
    options: { steps, ...(align && { align }) },
  });
