// What kernels of attention keep in memory besides operands and results.
import { type Dim, mulDims } from '../dim/dim';
import type { Node } from '../ir/graph';

/** The scores of all pairs of queries and keys, for kernels on [batch, seq, heads · head_dim] that write them: MultiHeadAttention, GroupQueryAttention, Attention. */
export function scoresOf({ operands: [query, key], attrs }: Node): Dim {
  const [batch, seq] = query!.dims as [Dim, Dim];
  return mulDims(
    batch,
    (attrs.num_heads ?? attrs.q_num_heads) as number,
    seq,
    (attrs.present ?? key?.dims[key.rank === 4 ? 2 : 1] ?? seq) as Dim,
  );
}
