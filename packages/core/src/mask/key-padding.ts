// One flag for each key: real, or padding.
import { expectType } from './check';
import { defineMask, type Mask } from './mask';
import { padStart } from './prefix-tokens';

/** The class of {@link keyPadding}. */
export const keyPaddingMask = defineMask<'keep'>({
  name: 'keyPadding',
  comparesPositions: false,
  check: ({ operands: { keep } }, { batch, kvSeq }) => expectType('key padding mask', keep, 'bool', [batch, kvSeq]),
  allows: ({ operands: { keep } }, { batch, key }) => keep.data[batch * keep.dims[1]! + key] !== 0,
  tensor: ({ operands: { keep } }, { graph }) => graph.ops.reshape(keep, [keep.dims[0]!, 1, 1, keep.dims[1]!]),
  features: ({ operands: { keep } }) => ({ keyPadding: keep }),
  withPrefixTokens: ({ operands: { keep } }, { count, before, ownKeys }) =>
    keyPadding(ownKeys && keep.dims[1] === before ? padStart(keep, 1, count, 1) : keep),
});

/** Keys for which `keep[b, j]` is true, bool [batch, kv_seq]. */
export const keyPadding = <V>(keep: V): Mask<V> => keyPaddingMask({ operands: { keep } });
