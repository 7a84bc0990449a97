// A feed-forward with a convolution over the neighbours in an image. Wang et al. 2021, https://arxiv.org/abs/2106.13797
import {
  asImage,
  ConfigError,
  choice,
  defineBlock,
  dropout,
  gridField,
  imageInputs,
  init,
  int,
  module,
  num,
  Parameter,
  type SequenceContext,
  slot,
  type Value,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { gelu } from './activations/gelu';

/**
 * A feed-forward of two linear maps with a depthwise convolution between them, which adds the neighbours in the image.
 *
 *     y = W₂ f(K ∗ (W₁ x + b₁) + b_K) + b₂      K: one square kernel per hidden channel, zeros around the image
 *
 * Rows and columns of the image are the option `grid`, otherwise those of the patch embedding before the layers, otherwise those of a square.
 *
 * Shapes   x [batch, rows · columns, dim] → [batch, rows · columns, outDim]
 * Dtypes   float32, float16, bfloat16
 * Masks    none: every position reads its neighbours
 * Cost     time O(positions · hidden · (dim + kernelSize²))
 * Throws   ConfigError for an even kernelSize · ShapeError where rows and columns are not known or do not fit the number of positions
 * Source   Wang et al. 2021, https://arxiv.org/abs/2106.13797; Guo et al. 2022, https://arxiv.org/abs/2202.09741
 * Lowers   everywhere: Conv, Transpose and the activation's kernel
 * Example  const block = conv2dFeedforward({ dim: 64, hidden: 256, grid: [14, 14] });
 */
export const conv2dFeedforward = defineBlock({
  kind: 'feedforward',
  name: 'conv2d_feedforward',
  summary: 'Two linear maps with a convolution over the neighbours in an image between them.',
  source: 'Wang et al. 2021, https://arxiv.org/abs/2106.13797',
  masks: [],
  fields: {
    /** input channels. Inherited from the enclosing block. */
    dim: int({ doc: 'input channels', unit: 'channels', min: 1, inherit: true }),
    /** hidden channels. Default: computed from other options. */
    hidden: int({ doc: 'hidden channels', unit: 'channels', min: 1, default: (c: { dim: number }) => c.dim }),
    /** output channels. Default: computed from other options. */
    outDim: int({ doc: 'output channels', unit: 'channels', min: 1, default: (c: { dim: number }) => c.dim }),
    /** rows and columns of the kernel; odd (positions). Default: `3`. */
    kernelSize: int({ doc: 'rows and columns of the kernel; odd', unit: 'positions', min: 1, default: 3 }),
    /** [rows, columns] of the image, if no patch embedding sets them and it is not a square. Optional. */
    grid: gridField(),
    /** the first axis of the kernels is down the rows, or across the columns. Default: `"rows"`. */
    kernelAxis: choice(['rows', 'columns'], {
      doc: 'the first axis of the kernels is down the rows, or across the columns',
      default: 'rows',
    }),
    /** dropout probability of the output in training. Default: `0`. */
    dropout: num({ doc: 'dropout probability of the output in training', min: 0, max: 0.99, default: 0 }),
    /** activation after the convolution. Default: `gelu`. */
    activation: slot('activation', { doc: 'activation after the convolution', default: gelu }),
  },
  inputs: imageInputs,
  examples: [
    { dim: 5, grid: [3, 7] },
    { dim: 3, hidden: 7, outDim: 5, kernelSize: 5, grid: [5, 2], kernelAxis: 'columns', activation: 'relu' },
  ],
  properties: ['batchIndependent', 'deterministic'],
  create({ dim, hidden, outDim, kernelSize, grid, kernelAxis, dropout: p, activation }, { path }) {
    if (kernelSize % 2 === 0)
      throw new ConfigError({
        path: `${path}.kernelSize`,
        problem: 'an even kernel has no centre',
        expected: 'an odd number',
        got: String(kernelSize),
      });
    const up = convolution([hidden, dim, 1, 1], 1);
    const depthwise = convolution([hidden, 1, kernelSize, kernelSize], hidden);
    const down = convolution([outDim, hidden, 1, 1], 1);
    const [inward, outward] =
      kernelAxis === 'rows'
        ? [
            [0, 3, 1, 2],
            [0, 2, 3, 1],
          ]
        : [
            [0, 3, 2, 1],
            [0, 3, 2, 1],
          ];
    return module({ up, depthwise, activation, down }, (x: Value, ctx: SequenceContext) => {
      const image = ops.transpose(asImage(x, ctx, { grid, path: `${path}.grid` }), inward);
      const y = down(activation(depthwise(up(image))));
      return dropout(ops.reshape(ops.transpose(y, outward), [x.dims[0]!, x.dims[1]!, outDim]), p);
    });
  },
});

// A convolution that keeps the size of the image. He et al. 2015, https://arxiv.org/abs/1502.01852: the variance is 2 / fan out.
function convolution(dims: readonly [number, number, number, number], group: number) {
  const [out, inner, kernel] = dims;
  const fans = [inner * kernel * kernel, (out * kernel * kernel) / group] as const;
  const std = Math.sqrt(2 / fans[1]);
  const weight = new Parameter(dims, init.normal(std), { role: 'spatial', part: 'weight' });
  const bias = new Parameter([out], init.zeros, { role: 'spatial', part: 'bias', fans });
  const pad = (kernel - 1) / 2;
  return module({ weight, bias }, (x: Value) => ops.conv(x, weight, bias, { pads: [pad, pad, pad, pad], group }));
}
