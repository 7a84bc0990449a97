// A causal convolution of each channel by itself, and what the next call needs of this one.
import { addDims, type Dim, type NDArray, subDims, type TensorType, type Value } from '@onnxformers/core';
import { apply, defineOp, mismatch, operandsOf, printType } from '@onnxformers/core/lowering';

/** Attributes of {@link CausalConvolution}. */
export type CausalConvolutionAttrs = { readonly activation: 'none' | 'silu' };

const names = ['x', 'weight', 'bias?', 'past?'] as const;

/** The high-level op behind {@link causalConvolution}. Operands: x, the weight, the bias, the positions before x. */
export const CausalConvolution = defineOp<CausalConvolutionAttrs, typeof names>({
  key: 'onnxformers.CausalConvolution',
  operands: names,
  results: ['y', 'state'],
  attributes: { activation: 'data' },
  infer(given) {
    const { x, weight, bias, past } = operandsOf(names, given);
    const [batch, channels] = x.dims as readonly [Dim, Dim];
    const width = weight.dims[2];
    if (x.dims.length !== 3) throw mismatch('x does not have 3 axes', '[batch, channels, seq]', printType(x));
    if (typeof width !== 'number' || weight.dims[0] !== channels || weight.dims[1] !== 1)
      throw mismatch('the weight does not fit the channels', `[${channels}, 1, width]`, printType(weight));
    const state: TensorType = { dtype: x.dtype, dims: [batch, channels, width - 1] };
    for (const [given, type] of [
      [bias, { dtype: x.dtype, dims: [channels] }],
      [past, state],
    ] as const)
      if (given && printType(given) !== printType(type))
        throw mismatch('an operand does not fit x and the weight', printType(type), printType(given));
    return [x, state];
  },
  decompose(given, { activation }, ops) {
    const { x, weight, bias, past } = operandsOf(names, given);
    const [channels, seq] = [x.dims[1] as number, x.dims[2]!];
    const before = (weight.dims[2] as number) - 1;
    const all = past ? ops.concat([past, x], 2) : ops.pad(x, { axes: [2], before: [before], after: [0] });
    const state = ops.slice(all, { axes: [2], starts: [subDims(all.dims[2]!, before)], ends: [addDims(seq, before)] });
    // Conv refuses fewer positions than its window has, also for no results: there is one more, whose result is dropped.
    const atLeastOne = typeof seq === 'number' && seq > 0;
    const padded = atLeastOne ? all : ops.pad(all, { axes: [2], before: [1], after: [0] });
    const results = ops.conv(padded, weight, bias, { group: channels });
    const y = atLeastOne ? results : ops.slice(results, { axes: [2], starts: [1], ends: [addDims(seq, 1)] });
    return [activation === 'silu' ? ops.mul(y, ops.sigmoid(y)) : y, state];
  },
  evaluate(given, { activation }) {
    const { x, weight, bias, past } = operandsOf(names, given);
    const [batch, channels, seq] = x.dims as readonly [number, number, number];
    const width = weight.dims[2]!;
    const y = new Float64Array(x.data.length);
    const state = new Float64Array(batch * channels * (width - 1));
    for (let row = 0; row < batch * channels; row++) {
      const channel = row % channels;
      const at = (t: number): number => (t >= 0 ? x.data[row * seq + t]! : (past?.data[(row + 1) * (width - 1) + t] ?? 0));
      for (let t = 0; t < seq; t++) {
        let sum = bias?.data[channel] ?? 0;
        for (let i = 0; i < width; i++) sum += weight.data[channel * width + i]! * at(t - width + 1 + i);
        y[row * seq + t] = activation === 'silu' ? sum / (1 + Math.exp(-sum)) : sum;
      }
      for (let i = 0; i < width - 1; i++) state[row * (width - 1) + i] = at(seq - width + 1 + i);
    }
    const next: NDArray = { dtype: x.dtype, dims: [batch, channels, width - 1], data: state };
    return [{ ...x, data: y }, next];
  },
});

/** Operands and options of {@link causalConvolution}. */
export interface CausalConvolutionOptions {
  readonly bias?: Value | undefined;
  /** The positions before x; zeros if absent. */
  readonly past?: Value | undefined;
  /** Default none. */
  readonly activation?: 'none' | 'silu';
}

/**
 * A causal convolution of each channel by itself, and the last positions, which the next call continues from.
 *
 *     y_t = activation(bias + Σ_i weight_i x_{t − width + 1 + i})
 *
 * Shapes   x [batch, channels, seq] · weight [channels, 1, width] · bias [channels] · past [batch, channels, width − 1]
 *          → y like x, state like past
 * Dtypes   one float dtype
 * Throws   ShapeError when the operands do not fit
 * Lowers   cpu, wasm, webgpu, cuda: CausalConvWithState · elsewhere: Conv after Concat or Pad
 */
export function causalConvolution(
  x: Value,
  weight: Value,
  { bias, past, activation = 'none' }: CausalConvolutionOptions = {},
): readonly [y: Value, state: Value] {
  return apply<CausalConvolutionAttrs>(CausalConvolution, [x, weight, bias, past], { activation }) as unknown as readonly [
    Value,
    Value,
  ];
}
