// Sinusoidal positional encoding. Vaswani et al. 2017, https://arxiv.org/abs/1706.03762
import { choice, defineBlock, int, num, type SequenceContext, type Value } from '@onnxformers/core';
import { unexpanded } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';

/**
 * Sinusoidal positional encoding: adds sines and cosines of the position, with wavelengths from 2π to 2π · base.
 *
 *     y[t, 2i] = x[t, 2i] + sin(t · base^(−2i/dim))      y[t, 2i + 1] = x[t, 2i + 1] + cos(t · base^(−2i/dim))
 *
 * Shapes   x [batch, seq, dim], packed [tokens, dim] → the same
 * Dtypes   float32, float16, bfloat16; angles in float32
 * Cost     time and memory O(seq · dim)
 * Source   Vaswani et al. 2017, https://arxiv.org/abs/1706.03762
 * Lowers   everywhere: primitives
 * Example  const block = sine({ dim: 64 });
 */
export const sine = defineBlock({
  kind: 'position',
  name: 'sine',
  summary: 'Adds sines and cosines of the position.',
  source: 'Vaswani et al. 2017, https://arxiv.org/abs/1706.03762',
  fields: {
    /** channels. Inherited from the enclosing block. */
    dim: int({ doc: 'channels', unit: 'channels', min: 1, max: 1_048_576, inherit: true }),
    /** ratio of the longest wavelength to the shortest. Default: `10000`. */
    base: num({ doc: 'ratio of the longest wavelength to the shortest', min: 1, default: 10_000 }),
    /** sine and cosine side by side, or all sines before all cosines. Default: `"interleaved"`. */
    order: choice(['interleaved', 'halves'], {
      doc: 'sine and cosine side by side, or all sines before all cosines',
      default: 'interleaved',
    }),
  },
  examples: [{ dim: 7 }, { dim: 10, base: 500, order: 'halves' }],
  properties: ['batchIndependent', 'causal'],
  create({ dim, base, order }) {
    const half = Math.ceil(dim / 2);
    const rates = Array.from({ length: half }, (_, i) => base ** ((-2 * i) / dim));
    return (x: Value, ctx: SequenceContext) => {
      const g = x.graph.root;
      const positions = unexpanded(ctx.positions);
      const signal = ctx.shared.get(`sine ${dim} ${base} ${order} of ${positions.id}`, () => {
        const angles = ops.mul(ops.unsqueeze(ops.cast(positions, 'float32'), [positions.rank]), g.number(rates, 'float32'));
        const parts = [ops.sin(angles), ops.cos(angles)];
        const side = positions.rank + 1;
        const all =
          order === 'halves'
            ? ops.concat(parts, -1)
            : ops.reshape(
                ops.concat(
                  parts.map((v) => ops.unsqueeze(v, [side])),
                  side,
                ),
                [...positions.dims, 2 * half],
              );
        return ops.cast(ops.cropTo(all, positions.rank, dim), x.dtype);
      });
      return ops.add(x, signal);
    };
  },
});
