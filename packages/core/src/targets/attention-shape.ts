// The sizes of an attention node, from operands in any of the forms that ONNX Runtime's ops accept.
import { type Dim, divDims } from '../dim/dim';
import type { Node, Value } from '../ir/graph';
import type { DType } from '../tensor/tensor';

/** What the choice of a kernel depends on. */
export interface Shape {
  readonly dtype: DType;
  readonly seq: Dim;
  readonly kvSeq: Dim;
  /** Undefined if it is not known. */
  readonly headDim: number | undefined;
  readonly valueDim: number | undefined;
}

/** A size that is a number. */
export const known = (d: Dim | undefined): number | undefined => (typeof d === 'number' ? d : undefined);

const share = (d: Dim | undefined, n: number): number | undefined => (typeof d === 'number' ? d / n : undefined);

/**
 * Queries [batch, seq, heads · head_dim]; keys and values alike, or [batch, heads, kv_seq, head_dim], or both in one tensor [batch, kv_seq, heads, 2, head_dim]; or all
 * three in the queries, [batch, seq, heads, 3, head_dim] or [batch, seq, (heads + 2 kv_heads) · head_dim].
 */
export function shapeOf({ operands }: Node, heads: number, kvHeads: number): Shape {
  const [q, k, v] = operands as readonly [Value, Value?, Value?];
  const [dtype, seq] = [q.dtype, q.dims[1]!];
  if (!k) {
    const headDim = q.rank === 5 ? known(q.dims[4]) : share(q.dims[2], heads + 2 * kvHeads);
    return { dtype, seq, kvSeq: seq, headDim, valueDim: headDim };
  }
  const headDim = share(q.dims[2], heads);
  const kvSeq = k.dims[k.rank === 4 ? 2 : 1]!;
  if (!v) return { dtype, seq, kvSeq, headDim, valueDim: headDim };
  return { dtype, seq, kvSeq, headDim, valueDim: v.rank === 4 ? known(v.dims[3]) : share(v.dims[2], kvHeads) };
}

/** Packed queries [tokens, heads · head_dim], keys and values; or all three in the queries, [tokens, heads, 3, head_dim]. */
export function packedShapeOf({ operands }: Node, heads: number): Omit<Shape, 'seq' | 'kvSeq'> {
  const [q, k, v] = operands as readonly [Value, Value?, Value?];
  const width = (x: Value): number | undefined => (x.rank === 4 ? known(x.dims[3]) : share(x.dims[1], heads));
  return { dtype: q.dtype, headDim: width(q), valueDim: width(v ?? k ?? q) };
}

/** Rows [batch, seq, dim] that the node itself projects, with weights [dim, 3 · heads · head_dim]. */
export function projectedShapeOf({ operands: [x, weights] }: Node, heads: number): Shape {
  const headDim = share(divDims(weights!.dims[1]!, 3), heads);
  return { dtype: x!.dtype, seq: x!.dims[1]!, kvSeq: x!.dims[1]!, headDim, valueDim: headDim };
}

/** The longest of packed sequences: token_offset is [batch, longest]. */
export const longestOf = ({ dims }: Value): Pick<Shape, 'seq' | 'kvSeq'> => ({ seq: dims[1]!, kvSeq: dims[1]! });

/** The larger width of a head, 0 if it is not known. */
export const width = ({ headDim = 0, valueDim = 0 }: Shape): number => Math.max(headDim, valueDim);
/** False if a head's width is known not to be a multiple of 8. */
export const byEight = ({ headDim = 0, valueDim = 0 }: Shape): boolean => headDim % 8 === 0 && valueDim % 8 === 0;
