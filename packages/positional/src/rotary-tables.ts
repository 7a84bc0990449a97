// Cosines and sines of rotary embeddings: computed once for all layers, and for all sequences with the same positions.
import { type Dim, type SequenceContext, ShapeError, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';

/** The operands of a rotation, [batch, seq, pairs] in the dtype of what is rotated. */
export interface Tables {
  readonly cosines: Value;
  readonly sines: Value;
}

/** Angles float32 [1 or batch, seq, pairs] (radians), and a factor of cosines and sines. */
interface Rotation {
  readonly angles: Value;
  readonly scale?: Value | number;
}

/** The tables of a key for the rows [batch, seq] of heads x. */
export function tablesFor(
  x: Value,
  { shared }: Pick<SequenceContext, 'shared'>,
  { key, rows }: { readonly key: string; readonly rows: readonly Dim[] },
  make: () => Rotation,
): Tables {
  return shared.get(`${key} ${x.dtype}`, () => {
    const { angles, scale = 1 } = make();
    const table = (v: Value): Value => ops.expand(ops.cast(ops.mul(v, scale), x.dtype), [...rows, angles.dims.at(-1)!]);
    return { cosines: table(ops.cos(angles)), sines: table(ops.sin(angles)) };
  });
}

/**
 * The positions of heads x, int64 [batch, seq]; packed [1, tokens].
 *
 * Throws   ShapeError if there are more or fewer than x has
 */
export function positionsOf(x: Value, { positions }: Pick<SequenceContext, 'positions'>): Value {
  if (positions.dims.at(-1) !== x.dims[2])
    throw new ShapeError({
      path: x.graph.where,
      problem: 'the number of positions in the sequence context differs from that of q or k',
      expected: `[batch, heads, ${positions.dims.at(-1)}, head_dim]`,
      got: `[${x.dims.join(', ')}]`,
      hint: 'A block that adds prefix tokens or changes the number of positions returns them with their context: withPrefix, withPositions',
    });
  return positions.rank === 1 ? positions.graph.ops.unsqueeze(positions, [0]) : positions;
}
