// Masks that are tensors: of the user, or computed.
import { broadcastIndex } from '../ops/broadcast';
import { expectType, oneOr } from './check';
import { defineMask, type Mask } from './mask';
import { padStart } from './prefix-tokens';

/** The class of {@link dense}. */
export const denseMask = defineMask<'keep'>({
  name: 'dense',
  comparesPositions: false,
  check({ operands: { keep } }, { batch, heads, seq, kvSeq }) {
    const full = [batch, heads, seq, kvSeq].slice(Math.max(0, 4 - keep.dims.length));
    expectType(
      'dense mask',
      keep,
      'bool',
      full.map((size, axis) => oneOr(keep.dims[axis], size)),
    );
  },
  allows: ({ operands: { keep } }, { batch, head, query, key }) =>
    keep.data[broadcastIndex(keep.dims, [batch, head, query, key])] !== 0,
  tensor: ({ operands: { keep } }, { graph, ofRows, ofKeyRows }) =>
    ofKeyRows(ofRows(graph.ops.reshape(keep, [...Array.from({ length: 4 - keep.rank }, () => 1), ...keep.dims]), 2), 3),
  features: ({ operands: { keep } }) => ({ dense: keep }),
  withPrefixTokens({ operands: { keep } }, { count, before, ownKeys }) {
    const axes = ownKeys ? [keep.rank - 1, keep.rank - 2] : [keep.rank - 2];
    return dense(axes.reduce((x, axis) => (x.dims[axis] === before ? padStart(x, axis, count, 1) : x), keep));
  },
});

/** Pairs for which `keep` is true; bool, broadcasts to [batch, heads, seq, kv_seq]. */
export const dense = <V>(keep: V): Mask<V> => denseMask({ operands: { keep } });

/**
 * A tensor that a block or a rule computed: of a pattern of its own, or of other masks. Where a mechanism declares which masks it supports, it is `dense`; but it is not the
 * user's, who could not state it in another way.
 */
export const computedMask = defineMask<'keep', { readonly of: string }>({
  ...denseMask.class.definition,
  name: 'computed',
  declaredAs: 'dense',
  print: ({ options: { of } }) => of,
});

/** Pairs for which `keep` is true, as {@link dense}, computed by a block or a rule; `of` is what `explain` calls it. */
export const computed = <V>(keep: V, of: string): Mask<V> => computedMask({ operands: { keep }, options: { of } });
