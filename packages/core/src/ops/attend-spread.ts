// Attention to random keys that rows of queries share: the keys are computed, gathered, and no others are read.
import { addDims, type Dim, floorDivDims, mulDims, subDims } from '../dim/dim';
import type { Value } from '../ir/graph';
import { place, placeOf, placesUpTo } from '../mask/places';
import { type RandomPairsOptions, spreadKeys, spreadOf } from '../mask/random-pairs';
import { attendGathered, rowsOfHeads } from './attend-gathered';

/** The random pairs, and the mask beside them. */
export interface SpreadOptions {
  readonly pairs: RandomPairsOptions & { readonly shared: number };
  /** int64 [], where the seed is data. */
  readonly seed?: Value | undefined;
  readonly causal: boolean;
  /** int64 [batch] */
  readonly lengths?: Value | undefined;
  readonly scale?: number | undefined;
  readonly softcap?: number | undefined;
}

/**
 * Attend under random pairs that rows of queries share, for as many queries as keys: the keys of each row are gathered beside it.
 *
 * Shapes   as Attend
 * Cost     time and memory proportional to the density, in multiples of 1 / density keys
 * Source   Zaheer et al. 2020, https://arxiv.org/abs/2007.14062
 * Lowers   everywhere: Gather, and an attention of which the rows of queries are the sequences
 */
export function attendSpread(
  q: Value,
  k: Value,
  v: Value,
  { pairs, seed, causal, lengths, scale, softcap }: SpreadOptions,
): Value {
  const { graph } = q;
  const { add, cropTo, gather, less, lessOrEqual, logicalAnd, min, mul, pad, reshape } = graph.ops;
  const [batch, heads, seq, dim] = q.dims as [Dim, Dim, Dim, Dim];
  const { shared } = pairs;
  const { keys, stretch } = spreadOf(pairs.density);
  // At least one of each: a shape with two sizes that are known only in a run would not be determined if one were 0.
  const rows = addDims(floorDivDims(seq, shared), 1);
  const stretches = addDims(floorDivDims(seq, stretch), 1);
  const width = mulDims(stretches, keys);
  const chosen = spreadKeys(q, rows, stretches, seed, pairs);
  const end = placeOf(graph, seq);
  // A row of zeros after the last key stands in for keys that do not exist, also of an empty sequence.
  const index = min(chosen, end);
  const ofRows = (x: Value): Value => gather(pad(rowsOfHeads(x), { axes: [1], before: [0], after: [1] }), index, 1);
  const whole = pad(rowsOfHeads(q), { axes: [1], before: [0], after: [subDims(mulDims(rows, shared), seq)] });

  const key = reshape(chosen, [1, rows, 1, width]);
  const conditions = [less(key, end)];
  if (lengths) conditions.push(less(key, place(reshape(lengths, [lengths.dims[0]!, 1, 1, 1]))));
  if (causal) {
    const first = reshape(mul(placesUpTo(graph, rows), shared), [1, rows, 1, 1]);
    conditions.push(lessOrEqual(key, add(first, reshape(placesUpTo(graph, shared), [1, 1, shared, 1]))));
  }
  const y = attendGathered(
    {
      queries: reshape(whole, [batch, rows, shared, heads, dim]),
      keys: ofRows(k),
      values: ofRows(v),
      keep: conditions.reduce((a, b) => logicalAnd(a, b)),
    },
    { scale, softcap },
  );
  return rowsOfHeads(cropTo(reshape(y, [batch, mulDims(rows, shared), heads, v.dims[3]!]), 1, seq));
}
