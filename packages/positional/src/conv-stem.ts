// Two convolutions over frames before a stack. Radford et al. 2022, https://arxiv.org/abs/2212.04356
import {
  ConfigError,
  defineBlock,
  init,
  int,
  module,
  Parameter,
  type SequenceContext,
  type Value,
  withPositions,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';

/**
 * The stem of speech encoders: two convolutions of frames, each with a GELU; the second one shortens the sequence.
 *
 *     y = gelu(conv_stride(gelu(conv(x))))
 *
 * The layers receive a context of the shorter sequence, with positions counted from 0.
 *
 * Shapes   features [batch, seq, inChannels] → [batch, ceilDiv(seq, stride), dim]
 * Dtypes   float32, float16, bfloat16
 * Cost     time O(seq · (inChannels + dim / stride) · dim), memory O(seq · dim)
 * Throws   FeedError from the runner without frames · ConfigError for lengths, padding or position ids of the input, for a packed batch and for a state
 * Source   Radford et al. 2022, https://arxiv.org/abs/2212.04356
 * Lowers   everywhere: Conv, Transpose, Gelu
 * Example  const block = convStem({ inChannels: 80, dim: 384 });
 */
export const convStem = defineBlock({
  kind: 'embedding',
  name: 'conv_stem',
  summary: 'Two convolutions of frames, of which the second shortens the sequence.',
  source: 'Radford et al. 2022, https://arxiv.org/abs/2212.04356',
  fields: {
    /** channels of a frame, such as mel bands. */
    inChannels: int({ doc: 'channels of a frame, such as mel bands', unit: 'channels', min: 1 }),
    /** the sequence becomes so many times shorter (frames). Default: `2`. */
    stride: int({ doc: 'the sequence becomes so many times shorter', unit: 'frames', min: 1, max: 3, default: 2 }),
    /** output channels. Inherited from the enclosing block. */
    dim: int({ doc: 'output channels', unit: 'channels', min: 1, inherit: true }),
  },
  inputs: ({ about: { config } }) => ({
    features: { dtype: 'float32', dims: ['batch', 'seq', config!.inChannels as number] },
  }),
  examples: [
    { inChannels: 5, dim: 7 },
    { inChannels: 3, stride: 3, dim: 5 },
  ],
  properties: ['batchIndependent'],
  create({ inChannels, stride, dim }, { path }) {
    const conv1 = convolution(inChannels, dim, 1);
    const conv2 = convolution(dim, dim, stride);
    return module({ conv1, conv2 }, (features: Value, ctx: SequenceContext) => {
      if (ctx.layout.kind === 'packed')
        throw new ConfigError({
          path,
          problem: 'a convolution would mix the ends of packed sequences',
          expected: 'a padded batch',
          got: 'a packed batch',
        });
      features.graph.root.limit({ size: features.dims[1]!, min: 1, problem: 'a sequence without frames', by: path });
      const channelsFirst = ops.transpose(features, [0, 2, 1]);
      const y = ops.gelu(conv2(ops.gelu(conv1(channelsFirst))));
      return withPositions(ctx, ops.transpose(y, [0, 2, 1]));
    });
  },
});

/** A convolution of three frames with zeros at both ends: [batch, from, seq] → [batch, to, ceilDiv(seq, stride)]. */
function convolution(from: number, to: number, stride: number) {
  const options = { role: 'convolution' } as const;
  const weight = new Parameter([to, from, 3], init.fanIn(3 * from), { ...options, part: 'weight' });
  const bias = new Parameter([to], init.fanIn(3 * from), { ...options, part: 'bias' });
  return module({ weight, bias }, (x: Value) => ops.conv(x, weight, bias, { strides: [stride], pads: [1, 1] }));
}
