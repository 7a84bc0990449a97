// Patches of hidden states, between the stages of a hierarchical model. Yu et al. 2021, https://arxiv.org/abs/2111.11418
import {
  asImage,
  defineBlock,
  gridField,
  imageInputs,
  int,
  keepContext,
  module,
  type SequenceContext,
  type Value,
  withPositions,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { asRows, squares } from './squares';

/**
 * Patches of hidden states: a linear map of each square of positions, computed as a convolution. Later layers of the stack have fewer positions, and
 * usually more channels. A stack in which the number of channels changes states the last one as `outDim`.
 *
 *     y[r · columns + c] = W · x[r · stride + …, c · stride + …] + bias
 *
 * Rows and columns of the input are the option `grid`, otherwise those of the patches before it, otherwise those of a square.
 *
 * Shapes   x [batch, height · width, dim] → [batch, floorDiv(height + 2*padding - kernelSize + stride, stride)*floorDiv(width + 2*padding -
 *          kernelSize + stride, stride), outDim]
 * Dtypes   float32, float16, bfloat16
 * Masks    none, and no attention bias: they refer to other positions
 * Throws   ShapeError where rows and columns are not known or do not fit the number of positions · ConfigError for a padding of a whole patch, for
 *          lengths, position ids, a packed batch and a state · FeedError from the runner for fewer rows or columns than a patch has
 * Source   Yu et al. 2021, https://arxiv.org/abs/2111.11418; Liu et al. 2021, https://arxiv.org/abs/2103.14030
 * Lowers   everywhere: Conv, Transpose
 * Example  const block = mergePatches({ dim: 64, outDim: 128, kernelSize: 3, stride: 2, padding: 1 });
 */
export const mergePatches = defineBlock({
  kind: 'layer',
  name: 'merge_patches',
  summary: 'A linear map of each square of positions, between the stages of a hierarchical model.',
  source: 'Yu et al. 2021, https://arxiv.org/abs/2111.11418',
  masks: [],
  fields: {
    /** input channels. Inherited from the enclosing block. */
    dim: int({ doc: 'input channels', unit: 'channels', min: 1, inherit: true }),
    /** output channels. Default: computed from other options. */
    outDim: int({ doc: 'output channels', unit: 'channels', min: 1, default: (c: { dim: number }) => c.dim }),
    /** rows and columns of a patch (positions). */
    kernelSize: int({ doc: 'rows and columns of a patch', unit: 'positions', min: 1 }),
    /** distance between patches; less than kernelSize: they overlap (positions). Default: computed from other options. */
    stride: int({
      doc: 'distance between patches; less than kernelSize: they overlap',
      unit: 'positions',
      min: 1,
      default: (c: { kernelSize: number }) => c.kernelSize,
    }),
    /** zeros around the image (positions). Default: `0`. */
    padding: int({ doc: 'zeros around the image', unit: 'positions', min: 0, default: 0 }),
    /** [rows, columns] of the input, if no patches before it set them and it is not a square. Optional. */
    grid: gridField(),
  },
  inputs: imageInputs,
  examples: [
    { dim: 5, outDim: 7, kernelSize: 2, grid: [4, 6] },
    { dim: 3, kernelSize: 3, stride: 2, padding: 1, grid: [5, 7] },
  ],
  properties: ['batchIndependent'],
  create({ dim, outDim, kernelSize, stride, padding, grid }, { path }) {
    const proj = squares({ inChannels: dim, kernelSize, stride, padding, dim: outDim }, path);
    return module({ proj }, (x: Value, ctx: SequenceContext) => {
      const image = asImage(x, ctx, { grid, path: `${path}.grid` });
      const { y, grid: cells } = asRows(proj(ops.transpose(image, [0, 3, 1, 2])));
      return keepContext(withPositions(ctx, y, { grid: cells }));
    });
  },
});
