// Padding, for mechanisms that do not attend to pairs.
import { ConfigError, type Dim, type Mask, type Value } from '@onnxformers/core';
import { expressedBy } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';

/**
 * The positions of x [batch, heads, seq, dim] that a padding mask keeps, bool [batch, seq]; undefined if all.
 *
 * Throws   ConfigError for another mask, with the problem that is given
 */
export function keptRows(mask: Mask<Value>, x: Value, { path, problem }: { readonly path: string; readonly problem: string }) {
  const [batch, , rows] = x.dims as [Dim, Dim, Dim];
  const reading = expressedBy(mask, { lengths: true, keyPadding: true });
  if (reading.inexpressible !== undefined)
    throw new ConfigError({
      path,
      problem,
      expected: 'one mask of lengths, one of key padding, or both',
      got: reading.inexpressible.mask,
    });
  const { lengths, keyPadding } = reading;
  const within = lengths && ops.less(ops.reshape(ops.iota(x, rows), [1, rows]), ops.reshape(lengths, [batch, 1]));
  return within && keyPadding ? ops.logicalAnd(within, keyPadding) : (within ?? keyPadding);
}

/** x [batch, heads, seq, dim] with 0 in the positions that are not kept, bool [batch, seq]. */
export const zeroed = (x: Value, keep: Value): Value => ops.where(ops.unsqueeze(keep, [1, 3]), x, 0);
