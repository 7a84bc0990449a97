// One flag for each key: real, or padding.
import type { Value } from '../ir/graph';
import { expectType } from './check';
import { defineMask, type Mask } from './mask';
import { padStart } from './prefix-tokens';

/** Options of a padding mask. */
export interface KeyPaddingOptions {
  /** Padding on the left is after these prefix tokens. */
  readonly afterPrefix?: true;
}

/** The class of {@link keyPadding}. */
export const keyPaddingMask = defineMask<'keep', KeyPaddingOptions>({
  name: 'keyPadding',
  comparesPositions: false,
  check: ({ operands: { keep } }, { batch, kvSeq }) => expectType('key padding mask', keep, 'bool', [batch, kvSeq]),
  allows: ({ operands: { keep } }, { batch, key }) => keep.data[batch * keep.dims[1]! + key] !== 0,
  tensor: ({ operands: { keep } }, { graph, ofKeyRows }) =>
    ofKeyRows(graph.ops.reshape(keep, [keep.dims[0]!, 1, 1, keep.dims[1]!]), 3),
  features: ({ operands: { keep } }) => ({ keyPadding: keep }),
  withPrefixTokens: ({ operands: { keep } }, { count, before, ownKeys }): Mask<Value> =>
    ownKeys && keep.dims[1] === before
      ? keyPaddingMask({ operands: { keep: padStart(keep, 1, count, 1) }, options: { afterPrefix: true } })
      : keyPadding(keep),
  mayHaveGaps: ({ options }) => options.afterPrefix ?? false,
});

/** Keys for which `keep[b, j]` is true, bool [batch, kv_seq]. */
export const keyPadding = <V>(keep: V): Mask<V> => keyPaddingMask({ operands: { keep } });
