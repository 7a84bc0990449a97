// How long the sequences are, for scalings that depend on it.
import { ConfigError, type SequenceContext, type Value } from '@onnxformers/core';
import { unexpanded } from '@onnxformers/core/lowering';

/**
 * The number of positions of each sequence up to the last real one of this call, with those before it in a cache.
 *
 * Shapes   → int64 [1 or batch, 1]; packed [1, tokens], for each token that of its sequence
 * Throws   ConfigError for a memory, whose length the context does not have
 */
export function sequenceEnds(ctx: SequenceContext, path: string, g: Value['graph']): Value {
  if (ctx.keys)
    throw new ConfigError({
      path,
      problem: 'how long the sequences of a memory are is not known',
      expected: 'a scaling that does not depend on the length, in cross attention',
      got: 'a scaling that does',
    });
  const { layout, lengths } = ctx;
  // From the graph's own ops, which a bundle of a rotary embedding need not contain.
  const { ops } = g;
  if (layout.kind === 'packed') {
    const rows = layout.asPadded(ctx);
    const ends = sequenceEnds(rows.ctx, path, g);
    return ops.unsqueeze(rows.pack(ops.expand(ends, rows.ctx.positions.dims)), [0]);
  }
  const positions = unexpanded(ctx.positions);
  const seq = positions.dims[1]!;
  const real = lengths && ops.less(ops.reshape(ops.iota(positions, seq), [1, seq]), ops.unsqueeze(lengths, [1]));
  return ops.add(ops.reduceMax(real ? ops.where(real, positions, 0) : positions, [1]), 1);
}
