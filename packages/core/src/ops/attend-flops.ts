// Floating-point operations of an attention: those of the pairs that masks of positions allow.
import type { Sizes } from '../ir/define-op';
import type { Node } from '../ir/graph';
import { impliedBy } from '../mask/features';
import { type AttendAttrs, attendParts } from './attend-parts';

/** Both products, for each pair of a query and a key that the mask's window allows. Masks that depend on data exclude no pair. */
export function attendFlops({ operands, attrs }: Node<AttendAttrs>, sizes: Sizes): number {
  const { q, k, v, mask } = attendParts(operands, attrs);
  const [batch, heads, seq, headDim] = q.dims.map((d) => sizes.of(d)) as [number, number, number, number];
  const kvSeq = sizes.of(k.dims[2]!);
  const { left, right, documents } = impliedBy(mask);
  const pairs = documents ? seq * kvSeq : pairsWithin(seq, kvSeq, left, right);
  return 2 * batch * heads * pairs * (headDim + sizes.of(v.dims[3]!));
}

/** Number of pairs of a query and a key from `left` before to `right` after it, if queries and keys are aligned at their ends. */
export function pairsWithin(
  seq: number,
  kvSeq: number,
  left = Number.POSITIVE_INFINITY,
  right = Number.POSITIVE_INFINITY,
): number {
  let pairs = 0;
  for (let i = kvSeq - seq; i < kvSeq; i++) pairs += Math.max(0, Math.min(kvSeq - 1, i + right) - Math.max(0, i - left) + 1);
  return pairs;
}
