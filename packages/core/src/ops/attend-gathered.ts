// Attention of blocks of queries, each over keys of its own that were gathered beside it: the blocks are the sequences of one attention.
import { type Dim, mulDims } from '../dim/dim';
import type { Value } from '../ir/graph';
import { computed } from '../mask/dense';
import { none } from '../mask/none';

/** Rows [batch, blocks, rows of a block, heads, head_dim] of queries, and of the keys and values of each block. */
export interface Gathered {
  readonly queries: Value;
  readonly keys: Value;
  readonly values: Value;
  /** The keys that exist and that each query may attend to: bool [batch or 1, blocks, size or 1, width]. Absent: all of them. */
  readonly keep?: Value | undefined;
}

/** Options of {@link attendGathered}. */
export interface GatheredOptions {
  readonly scale?: number | undefined;
  readonly softcap?: number | undefined;
  /** [heads] */
  readonly sinks?: Value | undefined;
}

/** The results as rows, [batch, blocks, size, heads, v_head_dim]; 0 for a query without a key. */
export function attendGathered({ queries, keys, values, keep }: Gathered, { scale, softcap, sinks }: GatheredOptions): Value {
  const { attendOp, expand, reshape, transpose } = queries.graph.ops;
  const [batch, blocks, size] = queries.dims as [Dim, Dim, Dim];
  const sequences = mulDims(batch, blocks);
  const headsOf = (x: Value): Value => transpose(reshape(x, [sequences, ...x.dims.slice(2)]), [0, 2, 1, 3]);
  const perSequence = (flags: Value): Value => {
    const [, , rows, width] = flags.dims as [Dim, Dim, Dim, Dim];
    return reshape(expand(flags, [batch, blocks, rows, width]), [sequences, 1, rows, width]);
  };
  const y = attendOp(headsOf(queries), headsOf(keys), headsOf(values), {
    mask: keep ? computed(perSequence(keep), 'the keys of each block') : none,
    ...(scale !== undefined && { scale }),
    ...(softcap !== undefined && { softcap }),
    ...(sinks && { sinks }),
  });
  const [, heads, , width] = y.dims as [Dim, Dim, Dim, Dim];
  return reshape(transpose(y, [0, 2, 1, 3]), [batch, blocks, size, heads, width]);
}

/** [batch, heads, seq, head_dim] as rows [batch, seq, heads, head_dim]. */
export const rowsOfHeads = (x: Value): Value => x.graph.ops.transpose(x, [0, 2, 1, 3]);
