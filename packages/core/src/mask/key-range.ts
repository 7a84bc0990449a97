// Which rows of keys the queries of a chunk may attend to, so that nothing is computed for the others.
import type { Value } from '../ir/graph';
import type { KeyRange, Mask, MaskPositions } from './mask';

/** The least and the greatest of int32 numbers of any dims, []. */
export function endsIn(x: Value): { readonly first: Value; readonly last: Value } {
  const { reduceMax, reduceMin } = x.graph.ops;
  const axes = x.dims.map((_, axis) => axis);
  const [first, last] = [reduceMin, reduceMax].map((reduce) => reduce(x, axes, { keepDims: false }));
  return { first: first!, last: last! };
}

/** The rows of keys that the queries of a chunk may attend to. */
export const keyRangeOf = (mask: Mask<Value>, at: MaskPositions): KeyRange => mask.class.definition.keyRange?.(mask, at) ?? {};

/** The rows that are in both. */
export const narrower = (a: KeyRange, b: KeyRange): KeyRange => ({
  start: joined(a.start, b.start, 'max') ?? a.start ?? b.start,
  end: joined(a.end, b.end, 'min') ?? a.end ?? b.end,
});
/** The rows from the first to the last that is in one of them. */
export const wider = (a: KeyRange, b: KeyRange): KeyRange => ({
  start: joined(a.start, b.start, 'min'),
  end: joined(a.end, b.end, 'max'),
});

const joined = (a: Value | undefined, b: Value | undefined, by: 'min' | 'max'): Value | undefined =>
  a && b && a.graph.ops[by](a, b);
