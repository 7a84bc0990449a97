// Attention to a large neighbourhood in an image by convolutions. Guo et al. 2022, https://arxiv.org/abs/2202.09741
import {
  asImage,
  defineBlock,
  gridField,
  imageInputs,
  init,
  int,
  module,
  Parameter,
  type SequenceContext,
  type Value,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';

/**
 * Large kernel attention: convolutions over a large neighbourhood in the image weight each channel of each position. The block has a residual connection of its own.
 *
 *     h = gelu(W₁ x + b₁)      a = W₃ (K₇ ∗ (K₅ ∗ h))      y = W₂ (h · a) + b₂ + x
 *
 * K₅ is a depthwise kernel of 5 × 5 cells, K₇ one of 7 × 7 cells with a dilation of 3; every map has a bias, and zeros surround the image. Rows and columns of
 * the image are the option `grid`, otherwise those of the patch embedding before the layers, otherwise those of a square.
 *
 * Shapes   x [batch, rows · columns, dim] → the same
 * Dtypes   float32, float16, bfloat16
 * Masks    none: every position reads its neighbours
 * Cost     time O(seq · dim · (dim + 5² + 7²)), memory O(seq · dim)
 * Throws   ShapeError where rows and columns are not known or do not fit the number of positions
 * Source   Guo et al. 2022, https://arxiv.org/abs/2202.09741
 * Lowers   everywhere: Conv, Gelu, Mul, Transpose
 * Example  const block = visual({ dim: 64, grid: [14, 14] });
 */
export const visual = defineBlock({
  kind: 'mixer',
  name: 'visual',
  summary: 'Attention to a large neighbourhood in an image by convolutions.',
  source: 'Guo et al. 2022, https://arxiv.org/abs/2202.09741',
  masks: [],
  fields: {
    /** channels. Inherited from the enclosing block. */
    dim: int({ doc: 'channels', unit: 'channels', min: 1, inherit: true }),
    /** [rows, columns] of the image, if no patch embedding sets them and it is not a square. Optional. */
    grid: gridField(),
  },
  inputs: imageInputs,
  examples: [
    { dim: 5, grid: [3, 7] },
    { dim: 3, grid: [11, 5] },
  ],
  properties: ['batchIndependent', 'deterministic', 'linear'],
  create({ dim, grid }, { path }) {
    const [proj_1, proj_2, conv1] = [pointwise(dim), pointwise(dim), pointwise(dim)];
    const conv0 = depthwise(dim, 5, 1);
    const conv_spatial = depthwise(dim, 7, 3);
    const spatial_gating_unit = module({ conv0, conv_spatial, conv1 }, (h: Value) => ops.mul(h, conv1(conv_spatial(conv0(h)))));
    return module({ proj_1, spatial_gating_unit, proj_2 }, (x: Value, ctx: SequenceContext) => {
      const image = ops.transpose(asImage(x, ctx, { grid, path: `${path}.grid` }), [0, 3, 1, 2]);
      const y = proj_2(spatial_gating_unit(ops.gelu(proj_1(image))));
      return ops.add(ops.reshape(ops.transpose(y, [0, 2, 3, 1]), x.dims), x);
    });
  },
});

const pointwise = (dim: number) => convolution([dim, dim, 1, 1], 1, 1);
const depthwise = (dim: number, size: number, dilation: number) => convolution([dim, 1, size, size], dim, dilation);

// A convolution that keeps the size of the image.
function convolution(dims: readonly [number, number, number, number], group: number, dilation: number) {
  const [out, inner, size] = dims;
  const weight = new Parameter(dims, init.fanIn(), { role: 'convolution', part: 'weight' });
  const bias = new Parameter([out], init.fanIn(inner * size * size), { role: 'convolution', part: 'bias' });
  const pad = (dilation * (size - 1)) / 2;
  const around = { pads: [pad, pad, pad, pad], dilations: [dilation, dilation], group };
  return module({ weight, bias }, (x: Value) => ops.conv(x, weight, bias, around));
}
