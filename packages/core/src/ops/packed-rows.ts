// Packed rows of sequences as a padded batch, and back.
import { type Dim, mulDims, subDims } from '../dim/dim';
import { given } from '../given';
import { defineOp, noFlops, operandsOf, printType, sameDims } from '../ir/define-op';
import { apply, mismatch, type Value } from '../ir/graph';

const names = ['rows', 'offsets', 'places'] as const;
/**
 * The high-level op behind {@link padRows}. Operands: rows [tokens, dim], offsets int64 [batch + 1], places int32 [batch, longest] (indices of the tokens in the
 * padded batch, then those of the padding).
 */
export const PadRows = defineOp<Record<never, never>, typeof names>({
  key: 'onnxformers.PadRows',
  operands: names,
  attributes: {},
  flops: noFlops,
  infer(given) {
    const { rows, offsets, places } = operandsOf(names, given);
    if (rows.dims.length !== 2) throw mismatch('the rows do not have 2 axes', '[tokens, dim]', printType(rows));
    if (offsets.dtype !== 'int64' || offsets.dims.length !== 1)
      throw mismatch('the offsets do not fit', 'int64[batch + 1]', printType(offsets));
    if (places.dtype !== 'int32' || places.dims.length !== 2 || places.dims[0] !== subDims(offsets.dims[0]!, 1))
      throw mismatch('the places do not fit', 'int32[batch, longest]', printType(places));
    return [{ dtype: rows.dtype, dims: [...places.dims, rows.dims[1]!] }];
  },
  // Beyond the end of a sequence follow tokens of the next.
  decompose(given, _, { add, cast, gather, iota, min, reshape, size, slice, sub }) {
    const { rows, offsets, places } = operandsOf(names, given);
    const [batch, longest] = places.dims as [Dim, Dim];
    const starts = reshape(slice(offsets, { axes: [0], starts: [0], ends: [batch] }), [batch, 1]);
    const within = reshape(iota(places, longest), [1, longest]);
    const last = sub(cast(size(rows.graph, rows.dims[0]!, [rows]), 'int64'), 1);
    return [gather(rows, min(add(starts, within), last), 0)];
  },
});

/**
 * Packed rows as a padded batch. Rows of padding may contain anything finite.
 *
 * Shapes   rows [tokens, dim] · offsets int64 [batch + 1], sequence i is rows offsets[i] to offsets[i + 1] − 1 · places int32 [batch, longest], the indices
 *          of the tokens in the padded batch, then those of the padding → [batch, longest, dim]
 * Dtypes   any
 * Throws   ShapeError when they do not fit
 * Lowers   cuda: RestorePadding · elsewhere: Gather
 */
export function padRows(rows: Value, offsets: Value, places: Value): Value {
  return apply(PadRows, [rows, offsets, places], {})[0]!;
}

const packed = ['padded', 'places'] as const;
/** The high-level op behind {@link packRows}. Operands: padded [batch, longest, dim], places int32 [batch, longest]. */
export const PackRows = defineOp<{ readonly tokens: Dim }, typeof packed>({
  key: 'onnxformers.PackRows',
  operands: packed,
  attributes: { tokens: 'data' },
  flops: noFlops,
  infer(given, { tokens }) {
    const { padded: x, places } = operandsOf(packed, given);
    if (x.dims.length !== 3) throw mismatch('the padded batch does not have 3 axes', '[batch, longest, dim]', printType(x));
    if (places.dtype !== 'int32' || !sameDims(places.dims, x.dims.slice(0, 2)))
      throw mismatch('the places do not fit', `int32[${x.dims.slice(0, 2).join(', ')}]`, printType(places));
    return [{ dtype: x.dtype, dims: [tokens, x.dims[2]!] }];
  },
  decompose(given, { tokens }, { cast, gather, reshape, slice }) {
    const { padded: x, places } = operandsOf(packed, given);
    const [batch, longest, dim] = x.dims as [Dim, Dim, Dim];
    const all = mulDims(batch, longest);
    const real = slice(reshape(places, [all]), { axes: [0], starts: [0], ends: [tokens] });
    return [gather(reshape(x, [all, dim]), cast(real, 'int64'), 0)];
  },
});

/**
 * The inverse of {@link padRows}: the rows of a padded batch without those of padding.
 *
 * Shapes   padded [batch, longest, dim] · places int32 [batch, longest] → [tokens, dim]
 * Dtypes   any
 * Throws   ShapeError when they do not fit, and when a size cannot be read from the graph's inputs
 * Lowers   cuda: RestorePadding, Slice in float16, Gather in others · elsewhere: Gather
 */
export function packRows(padded: Value, places: Value, tokens: Dim): Value {
  given('packRows', { padded, places });
  return apply(PackRows, [padded, places], { tokens })[0]!;
}
