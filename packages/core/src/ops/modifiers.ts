// Functions of the scores and of the weights of an attention, as data.

import { checkLookups, emit } from '../expression/emit';
import { evaluate } from '../expression/evaluate';
import { printExpression } from '../expression/print';
import type { Modifier, Modifiers } from '../expression/step';
import type { TensorType } from '../ir/define-op';
import type { Value } from '../ir/graph';
import type { KnownSizes, Mask, MaskFrame, MaskPositions, Pair } from '../mask/mask';
import { placesOf } from '../mask/places';
import type { NDArray } from '../tensor/tensor';

export const mapModifiers = <V, W>({ scores, weights }: Modifiers<V>, f: (table: V) => W): Modifiers<W> => {
  const mapped = (m: Modifier<V>): Modifier<W> => ({ ...m, tables: m.tables.map(f) });
  return { ...(scores && { scores: mapped(scores) }), ...(weights && { weights: mapped(weights) }) };
};

/** As text: `scores: score * 2`. */
export const printModifiers = ({ scores, weights }: Modifiers<unknown>): string =>
  [scores && `scores ${printExpression(scores)}`, weights && `weights ${printExpression(weights)}`].filter(Boolean).join(', ');

/** @throws ShapeError when tables do not fit the attention */
export function checkModifiers({ scores, weights }: Modifiers<TensorType>, sizes: KnownSizes): void {
  for (const modifier of [scores, weights]) if (modifier) checkLookups(modifier, modifier.tables, sizes);
}

/** Modified scores or weights [batch, heads, seq, kv_seq], in their dtype. */
export const modified = (modifier: Modifier<Value>, score: Value, mask: Mask<Value>, frame: MaskFrame): Value =>
  modifiedOf(modifier, score, placesOf(mask, frame));

/** The same at known positions of queries and keys. */
export function modifiedOf(modifier: Modifier<Value>, score: Value, at: MaskPositions): Value {
  const { cast, expand } = score.graph.ops;
  const x = emit(modifier, modifier.tables, { ...modifier, at, score });
  return expand(cast(x, score.dtype), score.dims);
}

/** The same in numbers. */
export function modifiedAt(modifier: Modifier<NDArray>, score: number, { head, from, to }: Pair): number {
  const q = modifier.align === 'topLeft' ? from.index : from.position;
  return evaluate(modifier, modifier.tables, { b: to.sequence, h: head, q, k: to.position, score });
}
