// Three convolutions over the samples of a waveform before a stack. Jeffries et al. 2024, https://arxiv.org/abs/2410.15608
import {
  ConfigError,
  defineBlock,
  init,
  int,
  list,
  module,
  num,
  Parameter,
  type SequenceContext,
  type Value,
  withPositions,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';

/** One of the three convolutions. */
const sizes = (doc: string) => int({ doc, unit: 'samples', min: 1, max: 65_536 });

/**
 * The stem of speech encoders that read samples instead of spectra: three strided convolutions without padding. The first one has no bias; what it returns
 * is normalised over all channels and positions together.
 *
 *     y = gelu(conv₃(gelu(conv₂(groupNorm(tanh(conv₁(x)))))))
 *
 * The layers receive a context of the shorter sequence, with positions counted from 0. The defaults are those of Moonshine: one position for 384 samples.
 *
 * Shapes   features [batch, seq, inChannels] → [batch, floorDiv(floorDiv(floorDiv(seq - kernelSizes1, strides1) + 1 - kernelSizes2, strides2) + 1 -
 *          kernelSizes3, strides3) + 1, dim]
 * Dtypes   float32, float16, bfloat16
 * Cost     time O(seq / strides1 · dim · (kernelSizes1 · inChannels + dim / strides2 · (kernelSizes2 + kernelSizes3 / strides3)))
 * Throws   FeedError from the runner for fewer samples than one position covers · ConfigError for lengths, padding or position ids of the input, for a packed batch and
 *          for a state
 * Source   Jeffries et al. 2024, https://arxiv.org/abs/2410.15608
 * Lowers   everywhere: Conv, Transpose, Gelu
 * Example  const block = waveformStem({ dim: 288 });
 */
export const waveformStem = defineBlock({
  kind: 'embedding',
  name: 'waveform_stem',
  summary: 'Three strided convolutions of the samples of a waveform.',
  source: 'Jeffries et al. 2024, https://arxiv.org/abs/2410.15608',
  fields: {
    /** channels of a sample, such as those of a stereo sound. Default: `1`. */
    inChannels: int({ doc: 'channels of a sample, such as those of a stereo sound', unit: 'channels', min: 1, default: 1 }),
    /** positions that each convolution covers. Default: `[127,7,3]`. */
    kernelSizes: list(sizes('positions that a convolution covers'), {
      doc: 'positions that each convolution covers',
      length: 3,
      default: [127, 7, 3],
    }),
    /** how many times shorter each convolution makes the sequence. Default: `[64,3,2]`. */
    strides: list(sizes('how many times shorter a convolution makes the sequence'), {
      doc: 'how many times shorter each convolution makes the sequence',
      length: 3,
      default: [64, 3, 2],
    }),
    /** added to the variance of the normalisation. Default: `0.00001`. */
    eps: num({ doc: 'added to the variance of the normalisation', above: 0, default: 1e-5 }),
    /** output channels; the second convolution has twice as many. Inherited from the enclosing block. */
    dim: int({ doc: 'output channels; the second convolution has twice as many', unit: 'channels', min: 1, inherit: true }),
  },
  inputs: ({ about: { config } }) => ({
    features: { dtype: 'float32', dims: ['batch', 'seq', config!.inChannels as number] },
  }),
  // They accept sequences of any length, as the suites over all blocks ask.
  examples: [
    { dim: 5, kernelSizes: [1, 1, 1], strides: [1, 2, 1] },
    { dim: 3, inChannels: 2, kernelSizes: [1, 1, 1], strides: [2, 1, 1], eps: 1e-3 },
  ],
  properties: ['batchIndependent'],
  create({ inChannels, kernelSizes, strides, eps, dim }, { path }) {
    const between = [inChannels, dim, 2 * dim, dim];
    const [conv1, conv2, conv3] = kernelSizes.map((size, i) =>
      convolution(between[i]!, between[i + 1]!, size, strides[i]!, i > 0),
    ) as [Convolution, Convolution, Convolution];
    const groupnorm = normalisation(dim, eps);
    const covered = kernelSizes.reduce((sum, size, i) => sum + (size - 1) * strides.slice(0, i).reduce((a, b) => a * b, 1), 1);
    return module({ conv1, groupnorm, conv2, conv3 }, (features: Value, ctx: SequenceContext) => {
      if (ctx.layout.kind === 'packed')
        throw new ConfigError({
          path,
          problem: 'a convolution would mix the ends of packed sequences',
          expected: 'a padded batch',
          got: 'a packed batch',
        });
      features.graph.root.limit({
        size: features.dims[1]!,
        min: covered,
        problem: 'fewer samples than the convolutions cover',
        by: path,
      });
      const once = groupnorm(ops.tanh(conv1(ops.transpose(features, [0, 2, 1]))));
      const y = ops.gelu(conv3(ops.gelu(conv2(once))));
      return withPositions(ctx, ops.transpose(y, [0, 2, 1]));
    });
  },
});

type Convolution = ReturnType<typeof convolution>;

/** A convolution without padding: [batch, from, seq] → [batch, to, floorDiv(seq - size, stride) + 1]. */
function convolution(from: number, to: number, size: number, stride: number, shifted: boolean) {
  const options = { role: 'convolution' } as const;
  const weight = new Parameter([to, from, size], init.fanIn(from * size), { ...options, part: 'weight' });
  const bias = shifted ? new Parameter([to], init.fanIn(from * size), { ...options, part: 'bias' }) : undefined;
  return module({ weight, bias }, (x: Value) => ops.conv(x, weight, bias, { strides: [stride] }));
}

/** Over all channels and positions of a sequence together. */
function normalisation(dim: number, epsilon: number) {
  const weight = new Parameter([dim], init.ones, { role: 'norm', part: 'weight' });
  const bias = new Parameter([dim], init.zeros, { role: 'norm', part: 'bias' });
  return module({ weight, bias }, (x: Value) => ops.groupNorm(x, weight, bias, { groups: 1, epsilon }));
}
