// What kernels of attention keep in memory besides operands and results.
import { type Dim, mulDims } from '../dim/dim';
import type { Node } from '../ir/graph';

/**
 * The scores of all pairs of queries and keys, for kernels that write them: MultiHeadAttention, GroupQueryAttention, Attention. Queries are
 * [batch, seq, heads · head_dim] or [batch, heads, seq, head_dim].
 */
export function scoresOf({ operands: [query, key], attrs }: Node): Dim {
  const seq = query!.dims.at(-2)!;
  const heads = query!.rank === 4 ? query!.dims[1]! : ((attrs.num_heads ?? attrs.q_num_heads) as number);
  return mulDims(query!.dims[0]!, heads, seq, (attrs.present ?? key?.dims.at(-2) ?? seq) as Dim);
}
