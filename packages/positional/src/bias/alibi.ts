// Linear biases: scores decrease with the distance, with a slope for each head. Press et al. 2021, https://arxiv.org/abs/2108.12409
import { defineBlock, num, type SequenceContext, tensor, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { relativePositions } from './relative-positions';

/**
 * Attention with linear biases (ALiBi): each head decreases its scores in proportion to the distance between query and key.
 *
 *     bias[h, i, j] = −slope_h · |position_i − position_j|          slopes: see `alibiSlopes`
 *
 * Under a causal mask this is the paper's bias; without one it is its symmetric form.
 *
 * Shapes   q [batch, heads, seq, head_dim] · k [batch, kv_heads, kv_seq, head_dim] → [batch, heads, seq, kv_seq]; batch is 1 if all sequences have the same positions
 * Dtypes   float32, float16, bfloat16; computed in float32
 * Cost     time and memory O(heads · seq · kv_seq), once for all layers of equal slopes
 * Throws   ConfigError in cross attention, and for `position_ids` with a cache
 * Source   Press et al. 2021, https://arxiv.org/abs/2108.12409
 * Lowers   everywhere: Sub, Abs, Mul; the attention bias excludes kernels without one
 * Example  const block = alibi({});
 */
export const alibi = defineBlock({
  kind: 'attentionBias',
  name: 'alibi',
  summary: 'Decreases scores in proportion to the distance, with a slope for each head.',
  source: 'Press et al. 2021, https://arxiv.org/abs/2108.12409',
  fields: {
    /** the last head has the slope 2^−maxBias if the number of heads is a power of two. Default: `8`. */
    maxBias: num({ doc: 'the last head has the slope 2^−maxBias if the number of heads is a power of two', min: 0, default: 8 }),
  },
  examples: [{}, { maxBias: 5 }],
  properties: ['deterministic'],
  create({ maxBias }, { path }) {
    return (q: Value, k: Value, ctx: SequenceContext) => {
      const heads = Number(q.dims[1]);
      const slopes = tensor(
        'float32',
        [1, heads, 1, 1],
        alibiSlopes(heads, maxBias).map((slope) => -slope),
      );
      const distance = ops.abs(ops.cast(relativePositions(q, k, ctx, path), 'float32'));
      return ops.cast(ops.mul(ops.unsqueeze(distance, [1]), slopes), q.dtype);
    };
  },
});

/**
 * The slopes of {@link alibi}. For a power of two of heads, they are the powers of 2^(−maxBias / heads). For another number, they are those of the largest
 * power of two below it, then every second one of twice that power.
 *
 * Example  alibiSlopes(3); // [1/16, 1/256, 1/4]
 */
export function alibiSlopes(heads: number, maxBias = 8): readonly number[] {
  const powers = (n: number): number[] => Array.from({ length: n }, (_, i) => 2 ** ((-maxBias * (i + 1)) / n));
  const whole = 2 ** Math.floor(Math.log2(heads));
  const others = powers(2 * whole).filter((_, i) => i % 2 === 0);
  return [...powers(whole), ...others].slice(0, heads);
}
