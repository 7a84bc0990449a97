// Layout: how the tokens of sequences are arranged in memory, and heads in channels.
import { type Dim, divDims, mulDims } from '../dim/dim';
import { ShapeError } from '../error';
import type { GraphBuilder, Value } from '../ir/graph';
import type { Mask } from '../mask/mask';
import { expand, reshape, transpose } from '../ops/movement';
import { iota } from '../ops/shape';
import type { SequenceContext } from './context';

/** How the sequences of a batch are arranged: padded to equal length, [batch, seq, dim], or packed one after another without padding. */
export type Layout = { readonly kind: 'padded' } | PackedLayout;

/**
 * [tokens, dim]; sequence i is tokens offsets[i] to offsets[i + 1] − 1. What it can become are functions, so that a block that is imported alone does not load
 * them.
 */
export interface PackedLayout {
  readonly kind: 'packed';
  /** int64 [batch + 1] */
  readonly offsets: Value;
  /** int64 [batch] */
  readonly lengths: Value;
  /** int64 [tokens]: from 0 in each sequence. */
  readonly positions: Value;
  /** The mask under which tokens attend to keys of their own sequence, for keys with these offsets. */
  readonly maskFor: (keyOffsets: Value) => Mask<Value>;
  /** Rows with others, [count, dim], in front of each sequence. */
  readonly withPrefix: (rows: Value, first: Value) => { readonly rows: Value; readonly layout: PackedLayout };
  /** The context of the same sequences as a padded batch. */
  readonly asPadded: (ctx: SequenceContext) => PaddedRows;
}

/** Packed sequences as a padded batch. */
export interface PaddedRows {
  /** The context of the padded batch: its layout, masks and positions. */
  readonly ctx: SequenceContext;
  /** Rows [tokens, dim] → [batch, longest, dim], heads [1, heads, tokens, head_dim] → [batch, heads, longest, head_dim]; `of` is their layout, default the sequences' own. */
  pad(x: Value, of?: Layout): Value;
  /** The inverse of `pad`, for results with a row for each position. */
  pack(x: Value): Value;
}

/** The padded layout, [batch, seq, …]. */
export const padded: Layout = { kind: 'padded' };

/** How the keys of an attention are stored and aligned with the queries. */
export interface KeyPositions {
  readonly layout: Layout;
  /** int64 [batch]: keys before query 0; only the first queryOffset + seq keys exist. Absent: kv_seq − seq. */
  readonly queryOffset?: Value;
}

/**
 * Positions counted from 0 in each sequence.
 *
 * Shapes   → int64 [batch, seq], packed [tokens]
 * Throws   ShapeError when a size cannot be read from the graph's inputs
 * Lowers   everywhere: Range, Expand
 */
export function positionsWithin(layout: Layout, [batch, seq]: readonly [Dim, Dim], g: GraphBuilder): Value {
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
  const [batch, heads, seq, headDim] = x.dims as [Dim, Dim, Dim, Dim];
  const rows = transpose(x, [0, 2, 1, 3]);
  const dim = mulDims(heads, headDim);
  return reshape(rows, layout.kind === 'packed' ? [seq, dim] : [batch, seq, dim]);
}
