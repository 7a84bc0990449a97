// Patches of hidden states, between the stages of a hierarchical model. Yu et al. 2021, https://arxiv.org/abs/2111.11418
import {
  asImage,
  bool,
  ConfigError,
  type Dim,
  defineBlock,
  floorDivDims,
  gridField,
  imageInputs,
  int,
  keepContext,
  linear,
  module,
  mulDims,
  type SequenceContext,
  slot,
  type Value,
  withPositions,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { asRows, filled, squares } from './squares';

/**
 * Patches of hidden states: a linear map of each square of positions, computed as a convolution. Later layers of the stack have fewer positions, and
 * usually more channels. A stack in which the number of channels changes states the last one as `outDim`.
 *
 *     y[r · columns + c] = W · x[r · stride + …, c · stride + …] + bias
 *
 * With a norm the squares lie side by side, the norm is applied to the channels of all positions of a square, column by column, and zeros on the right and below fill the
 * last squares (Swin):
 *
 *     y = W · norm([x[2r, 2c]; x[2r + 1, 2c]; x[2r, 2c + 1]; x[2r + 1, 2c + 1]]) + bias      for kernelSize = 2
 *
 * Rows and columns of the input are the option `grid`, otherwise those of the patches before it, otherwise those of a square.
 *
 * Shapes   x [batch, height · width, dim] → [batch, floorDiv(height + 2*padding - kernelSize + stride, stride)*floorDiv(width + 2*padding -
 *          kernelSize + stride, stride), outDim], or [batch, floorDiv(height + stride - 1, stride)*floorDiv(width + stride - 1, stride), outDim] with a norm
 * Dtypes   float32, float16, bfloat16
 * Masks    none, and no attention bias: they refer to other positions
 * Cost     time O(seq · (kernelSize / stride)² · dim · outDim), memory O(seq · dim)
 * Throws   ShapeError where rows and columns are not known or do not fit the number of positions · ConfigError for a padding of a whole patch, for a norm with
 *          a padding or another stride than kernelSize, for
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
    /** the linear map has a bias. Default: `true`. */
    bias: bool({ doc: 'the linear map has a bias', default: true }),
    /** [rows, columns] of the image, if no patch embedding sets them and it is not a square. Optional. */
    grid: gridField(),
    /** norm of the channels of all positions of a square. Optional. */
    norm: slot('norm', {
      doc: 'norm of the channels of all positions of a square',
      optional: true,
      inside: (c: { dim: number; kernelSize: number }) => ({ dim: c.dim * c.kernelSize ** 2 }),
    }),
  },
  inputs: imageInputs,
  examples: [
    { dim: 5, outDim: 7, kernelSize: 2, grid: [4, 6] },
    { dim: 3, kernelSize: 3, stride: 2, padding: 1, grid: [5, 7] },
    { dim: 3, outDim: 5, kernelSize: 2, bias: false, norm: 'layer_norm', grid: [5, 7] },
  ],
  properties: ['batchIndependent'],
  create({ dim, outDim, kernelSize, stride, padding, bias, grid, norm }, { path }) {
    if (norm) {
      if (padding || stride !== kernelSize)
        throw new ConfigError({
          path: `${path}.norm`,
          problem: 'squares with a norm lie side by side',
          expected: 'padding: 0 and stride = kernelSize',
          got: `padding: ${padding}, stride: ${stride}`,
        });
      const proj = linear(dim * kernelSize ** 2, outDim, { bias, role: 'projection' });
      return module({ norm, proj }, (x: Value, ctx: SequenceContext) => {
        const { rows, cells } = joined(asImage(x, ctx, { grid, path: `${path}.grid` }), kernelSize);
        return keepContext(withPositions(ctx, proj(norm(rows)), { grid: cells }));
      });
    }
    const proj = squares({ inChannels: dim, kernelSize, stride, padding, dim: outDim, bias }, path);
    return module({ proj }, (x: Value, ctx: SequenceContext) => {
      const image = asImage(x, ctx, { grid, path: `${path}.grid` });
      const { y, grid: cells } = asRows(proj(ops.transpose(image, [0, 3, 1, 2])));
      return keepContext(withPositions(ctx, y, { grid: cells }));
    });
  },
});

/** The channels of each square, column by column: [batch, rows, columns, dim] → [batch, squares, side² · dim]. */
function joined(image: Value, side: number): { readonly rows: Value; readonly cells: readonly [Dim, Dim] } {
  const whole = filled(ops.transpose(image, [0, 3, 1, 2]), side);
  const [batch, dim, height, width] = whole.dims as [Dim, number, Dim, Dim];
  const cells = [floorDivDims(height, side), floorDivDims(width, side)] as const;
  const parted = ops.reshape(whole, [batch, dim, cells[0], side, cells[1], side]);
  const rows = ops.transpose(parted, [0, 2, 4, 5, 3, 1]);
  return { rows: ops.reshape(rows, [batch, mulDims(...cells), side * side * dim]), cells };
}
