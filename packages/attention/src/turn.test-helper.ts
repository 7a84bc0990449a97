// A rotation of four channels, as a block and in plain numbers.
import { defineBlock, type SequenceContext, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';

/** Rotates pairs of channels by their position, in radians. */
export const turn = defineBlock({
  kind: 'rotaryEmbedding',
  name: 'turn',
  summary: 'Rotates pairs of channels.',
  fields: {},
  examples: [{}],
  create: () => (q: Value, k: Value, ctx: SequenceContext) => {
    const angles = ops.unsqueeze(ops.cast(ctx.positions, 'float32'), [2]);
    const [cosines, sines] = [ops.cos(angles), ops.sin(angles)].map((t) => ops.expand(t, [...ctx.positions.dims, 2]));
    const turned = (x: Value): Value => ops.rotaryEmbedding(x, cosines!, sines!, undefined, { interleaved: true });
    return [turned(q), turned(k)] as const;
  },
});

/** The same for one row at position t. */
export const rotated = (x: readonly number[], t: number): readonly number[] =>
  x.map((v, i) => (i % 2 ? x[i - 1]! * Math.sin(t) + v * Math.cos(t) : v * Math.cos(t) - x[i + 1]! * Math.sin(t)));
