// Layout: how the tokens of sequences are arranged in memory, and heads in channels.

import { type Dim, divDims, mulDims } from '../dim/dim';
import { ShapeError } from '../error';
import { aLayout, aList, given, graphOrValue } from '../given';
import type { GraphBuilder, Value } from '../ir/graph';
import type { KeyPositions, Layout, PackedLayout, PaddedRows } from './types';

export type { KeyPositions, Layout, PackedLayout, PaddedRows };

/** The padded layout, [batch, seq, …]. */
export const padded: Layout = { kind: 'padded' };

/**
 * Positions counted from 0 in each sequence.
 *
 * Shapes   → int64 [batch, seq], packed [tokens]
 * Throws   ShapeError when a size cannot be read from the graph's inputs
 * Lowers   everywhere: Range, Expand
 */
export function positionsWithin(layout: Layout, dims: readonly [Dim, Dim], g: GraphBuilder): Value {
  given('positionsWithin', { layout, dims, source: g }, { layout: aLayout, dims: aList, source: graphOrValue });
  const [batch, seq] = dims;
  const { expand, iota, reshape } = g.ops;
  return layout.kind === 'packed' ? layout.positions : expand(reshape(iota(g, seq), [1, seq]), [batch, seq]);
}

/**
 * Splits channels into heads.
 *
 * Shapes   x [batch, seq, heads · head_dim] → [batch, heads, seq, head_dim]; packed [tokens, …] → [1, heads, tokens, head_dim]
 * Throws   ShapeError when x has the wrong number of axes, or heads does not divide the channels
 * Lowers   everywhere: Reshape, Transpose, omitted for kernels that read [batch, seq, dim]
 */
export function splitHeads(x: Value, heads: number, layout: Layout): Value {
  const dim = x.dims.at(-1)!;
  if (x.rank !== (layout.kind === 'packed' ? 2 : 3))
    throw new ShapeError({
      path: x.graph.where,
      problem: `cannot split a ${layout.kind} batch into heads`,
      expected: layout.kind === 'packed' ? '[tokens, dim]' : '[batch, seq, dim]',
      got: `[${x.dims.join(', ')}]`,
    });
  const rows = layout.kind === 'packed' ? [1, x.dims[0]!] : [x.dims[0]!, x.dims[1]!];
  const { reshape, transpose } = x.graph.ops;
  return transpose(reshape(x, [...rows, heads, divDims(dim, heads)]), [0, 2, 1, 3]);
}

/**
 * The inverse of {@link splitHeads}.
 *
 * Shapes   x [batch, heads, seq, head_dim] → [batch, seq, heads · head_dim]; packed [1, heads, tokens, head_dim] → [tokens, …]
 * Throws   nothing
 * Lowers   everywhere: Transpose, Reshape, omitted for kernels that write [batch, seq, dim]
 */
export function mergeHeads(x: Value, layout: Layout): Value {
  const { reshape, transpose } = x.graph.ops;
  const [batch, heads, seq, headDim] = x.dims as [Dim, Dim, Dim, Dim];
  const rows = transpose(x, [0, 2, 1, 3]);
  const dim = mulDims(heads, headDim);
  return reshape(rows, layout.kind === 'packed' ? [seq, dim] : [batch, seq, dim]);
}
