// Mixing positions by the mean of their neighbours in an image. Yu et al. 2021, https://arxiv.org/abs/2111.11418
import {
  asImage,
  ConfigError,
  defineBlock,
  gridField,
  imageInputs,
  int,
  type SequenceContext,
  type Value,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';

/**
 * The mean of each position's neighbours in the image, minus the position itself: what a residual connection adds.
 *
 *     y[r, c] = mean of x in the square of poolSize² cells around (r, c), as far as it is inside the image, − x[r, c]
 *
 * Rows and columns of the image are the option `grid`, otherwise those of the patch embedding before the layers, otherwise those of a square.
 *
 * Shapes   x [batch, rows · columns, dim] → the same
 * Dtypes   float32, float16, bfloat16
 * Masks    none: every position reads its neighbours
 * Cost     time O(seq · poolSize² · dim), memory O(seq · dim)
 * Throws   ConfigError for an even poolSize · ShapeError where rows and columns are not known or do not fit the number of positions
 * Source   Yu et al. 2021, https://arxiv.org/abs/2111.11418
 * Lowers   everywhere: AveragePool, Transpose, Sub
 * Example  const block = pooling({ dim: 64, grid: [14, 14] });
 */
export const pooling = defineBlock({
  kind: 'mixer',
  name: 'pooling',
  summary: 'Mixes positions by the mean of their neighbours in an image.',
  source: 'Yu et al. 2021, https://arxiv.org/abs/2111.11418',
  masks: [],
  fields: {
    /** channels. Inherited from the enclosing block. */
    dim: int({ doc: 'channels', unit: 'channels', min: 1, inherit: true }),
    /** rows and columns of the square of neighbours; odd (positions). Default: `3`. */
    poolSize: int({ doc: 'rows and columns of the square of neighbours; odd', unit: 'positions', min: 1, max: 255, default: 3 }),
    /** [rows, columns] of the image, if no patch embedding sets them and it is not a square. Optional. */
    grid: gridField(),
  },
  inputs: imageInputs,
  examples: [
    { dim: 5, grid: [3, 7] },
    { dim: 3, poolSize: 5, grid: [5, 2] },
  ],
  properties: ['batchIndependent', 'deterministic', 'linear'],
  create({ poolSize, grid }, { path }) {
    if (poolSize % 2 === 0)
      throw new ConfigError({
        path: `${path}.poolSize`,
        problem: 'an even square of neighbours has no centre',
        expected: 'an odd number',
        got: String(poolSize),
      });
    const pad = (poolSize - 1) / 2;
    return (x: Value, ctx: SequenceContext) => {
      const image = ops.transpose(asImage(x, ctx, { grid, path: `${path}.grid` }), [0, 3, 1, 2]);
      const means = ops.averagePool(image, [poolSize, poolSize], { pads: [pad, pad, pad, pad] });
      return ops.sub(ops.reshape(ops.transpose(means, [0, 2, 3, 1]), x.dims), x);
    };
  },
});
