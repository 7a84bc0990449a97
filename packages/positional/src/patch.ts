// Patch embedding. Dosovitskiy et al. 2020, https://arxiv.org/abs/2010.11929
import { bool, defineBlock, int, module, type SequenceContext, slot, type Value, withPositions } from '@onnxformers/core';
import { asRows, squares } from './squares';

/**
 * Patch embedding: a linear map of each square of an image, computed as a convolution. The positions are the patches in row-major order, counted from 0.
 *
 *     y[b, r · columns + c] = W · pixels[b, :, r · stride + …, c · stride + …] + bias
 *
 * With `fillEdge`, zeros on the right and below fill the image up to whole patches. With a norm, y is norm(W · pixels + bias).
 *
 * The layers receive a context of the patches: as many positions, and the grid [rows, columns] as `ctx.grid`. A class token before them is an option
 * of `learnable`.
 *
 * Shapes   pixels [batch, inChannels, height, width] → [batch, floorDiv(height + 2*padding - kernelSize + stride, stride)*floorDiv(width + 2*padding -
 *          kernelSize + stride, stride), dim]
 * Dtypes   float32, float16, bfloat16
 * Cost     time O(height · width · (kernelSize / stride)² · inChannels · dim)
 * Throws   ShapeError when the channels of the image are not inChannels · FeedError from the runner for an image smaller than a patch · ConfigError for a
 *          padding of a whole patch, for fillEdge with a padding or another stride than kernelSize, for lengths, padding or position ids of the input, for a packed
 *          batch and for a state
 * Source   Dosovitskiy et al. 2020, https://arxiv.org/abs/2010.11929
 * Lowers   everywhere: Conv, Transpose
 * Example  const block = patch({ kernelSize: 16, dim: 768 });
 */
export const patch = defineBlock({
  kind: 'embedding',
  name: 'patch',
  summary: 'A linear map of each square of an image.',
  source: 'Dosovitskiy et al. 2020, https://arxiv.org/abs/2010.11929',
  fields: {
    /** channels of the image. Default: `3`. */
    inChannels: int({ doc: 'channels of the image', unit: 'channels', min: 1, default: 3 }),
    /** height and width of a patch (pixels). */
    kernelSize: int({ doc: 'height and width of a patch', unit: 'pixels', min: 1 }),
    /** distance between patches; less than kernelSize: they overlap (pixels). Default: computed from other options. */
    stride: int({
      doc: 'distance between patches; less than kernelSize: they overlap',
      unit: 'pixels',
      min: 1,
      default: (c: { kernelSize: number }) => c.kernelSize,
    }),
    /** zeros around the image (pixels). Default: `0`. */
    padding: int({ doc: 'zeros around the image', unit: 'pixels', min: 0, default: 0 }),
    /** the linear map has a bias. Default: `true`. */
    bias: bool({ doc: 'the linear map has a bias', default: true }),
    /** an edge that is not a whole patch is filled with zeros, instead of left out. Default: `false`. */
    fillEdge: bool({ doc: 'an edge that is not a whole patch is filled with zeros, instead of left out', default: false }),
    /** output channels. Inherited from the enclosing block. */
    dim: int({ doc: 'output channels', unit: 'channels', min: 1, inherit: true }),
    /** norm of each patch. Optional. */
    norm: slot('norm', { doc: 'norm of each patch', optional: true }),
  },
  inputs: ({ about: { config } }) => ({
    pixels: { dtype: 'float32', dims: ['batch', config!.inChannels as number, 'height', 'width'] },
  }),
  examples: [
    { kernelSize: 2, dim: 7 },
    { inChannels: 2, kernelSize: 3, stride: 2, padding: 1, bias: false, dim: 5 },
  ],
  properties: ['batchIndependent'],
  create({ inChannels, kernelSize, stride, padding, bias, fillEdge, dim, norm }, { path }) {
    const proj = squares({ inChannels, kernelSize, stride, padding, dim, bias, fillEdge }, path);
    return module({ proj, norm }, (pixels: Value, ctx: SequenceContext) => {
      const { y, grid } = asRows(proj(pixels));
      return withPositions(ctx, norm ? norm(y) : y, { grid });
    });
  },
});
