// Linear biases: scores decrease with the distance, with a slope for each head. Press et al. 2021, https://arxiv.org/abs/2108.12409
import {
  castTensor,
  type Dim,
  defineBlock,
  int,
  num,
  type SequenceContext,
  type Tensor,
  tensor,
  type Value,
} from '@onnxformers/core';
import { limitIndices } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';
import { keyPositions, relativePositions } from './relative-positions';

/**
 * Attention with linear biases (ALiBi): each head decreases its scores in proportion to the distance between query and key.
 *
 *     bias[h, i, j] = −slope_h · |position_i − position_j|          slopes: see `alibiSlopes`
 *
 * Under a causal mask this is the paper's bias; without one it is its symmetric form.
 *
 * With `roundedPositions` the bias is that of Falcon, which depends on the key alone and is computed in bfloat16: slope and position, and then their product, are rounded.
 * Under a causal mask it differs from the one above by the rounding, and by a number for each query, which the softmax ignores.
 *
 *     bias[h, i, j] = scale · bf16(bf16(slope_h) · bf16(position_j))
 *
 * Shapes   q [batch, heads, seq, head_dim] · k [batch, kv_heads, kv_seq, head_dim] → [batch, heads, seq, kv_seq]; batch is 1 if all sequences have the same positions
 * Dtypes   float32, float16, bfloat16; computed in float32
 * Cost     time and memory O(heads · seq · kv_seq), once for all layers of equal slopes
 * Throws   ShapeError for more than roundedPositions positions; if their number is known only at run time, the runner refuses them · ConfigError in cross attention, and for `position_ids` with a cache
 * Source   Press et al. 2021, https://arxiv.org/abs/2108.12409
 * Lowers   everywhere: Sub, Abs, Mul, with roundedPositions Gather; the attention bias excludes kernels without one
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
    /** factor of the biases. Default: `1`. */
    scale: num({ doc: 'factor of the biases', above: 0, default: 1 }),
    /** biases of the keys, rounded to bfloat16, for so many positions; absent: biases of distances. Optional. */
    roundedPositions: int({
      doc: 'biases of the keys, rounded to bfloat16, for so many positions; absent: biases of distances',
      min: 1,
      max: 1_048_576,
      optional: true,
    }),
  },
  examples: [{}, { maxBias: 5, scale: 0.5 }, { roundedPositions: 97, scale: 0.25 }],
  properties: ['deterministic'],
  create({ maxBias, scale, roundedPositions }, { path }) {
    return (q: Value, k: Value, ctx: SequenceContext) => {
      const heads = Number(q.dims[1]);
      if (roundedPositions !== undefined) {
        // Read from the graph: biases of distances load nothing of this.
        const { cast, expand, gather, transpose, unsqueeze } = q.graph.ops;
        const positions = keyPositions(q, k, ctx, path);
        limitIndices(positions, roundedPositions, `${path}.roundedPositions`);
        const rows = q.graph.root.constant(roundedBiases(alibiSlopes(heads, maxBias), roundedPositions, scale));
        const ofKeys = transpose(gather(rows, positions, 0), [0, 2, 1]);
        const [batch, , keys] = ofKeys.dims as readonly [Dim, Dim, Dim];
        return cast(expand(unsqueeze(ofKeys, [2]), [batch, heads, q.dims[2]!, keys]), q.dtype);
      }
      const slopes = tensor(
        'float32',
        [1, heads, 1, 1],
        alibiSlopes(heads, maxBias).map((slope) => -slope * scale),
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

const rounded = (values: readonly number[]): readonly number[] => {
  const t = castTensor(castTensor(tensor('float32', [values.length], values), 'bfloat16'), 'float32');
  return Array.from(t.data as Float32Array);
};

/** float32 [positions, heads]. */
function roundedBiases(slopes: readonly number[], positions: number, scale: number): Tensor {
  const ofHeads = rounded(slopes);
  const at = rounded(Array.from({ length: positions }, (_, i) => i));
  const products = rounded(at.flatMap((position) => ofHeads.map((slope) => slope * position)));
  return tensor(
    'float32',
    [positions, slopes.length],
    products.map((bias) => bias * scale),
  );
}
