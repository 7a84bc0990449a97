// Normalisation: groups of elements are standardised, then multiplied by a learned scale and shifted by a learned bias.
import { type Dim, divDims, mulDims, tryDivDims } from '../dim/dim';
import { anObject, given } from '../given';
import { defineOp, type Op, printType, type TensorType } from '../ir/define-op';
import { apply, mismatch, type Operand, type Value, type Vocabulary } from '../ir/graph';
import { countOf, type DType, type NDArray } from '../tensor/tensor';
import { accept, acceptAlike, rankOf } from './accept';
import { broadcastTo } from './broadcast';
import { axisOf } from './strides';

/** The part that is computed in float32 for operands of 16 bits: mean, variance and the normalised elements, before the scale. */
const stashed = (dtype: DType, stashType: number): DType => (stashType === 1 && dtype !== 'float64' ? 'float32' : dtype);
const float32Stash = 1;

/** Every axis from `axis` on, counted from the beginning. */
const axesFrom = (axis: number, rank: number): number[] =>
  Array.from({ length: rank - axisOf(axis, rank) }, (_, i) => axisOf(axis, rank) + i);
/** The axis counted from the end, as in attributes, so that equal nodes have equal attributes. */
const fromEnd = (axis: number, x: Operand): number => (axis >= 0 && axis < rankOf(x) ? axis - rankOf(x) : axis);

type LayerAttrs = { readonly axis: number; readonly epsilon: number; readonly stash_type: number };
const layerAttributes = { axis: 'int', epsilon: 'float', stash_type: 'int' } as const;

function inferLayer([x, scale, bias]: readonly (TensorType | undefined)[], { axis }: LayerAttrs): readonly TensorType[] {
  const { dims } = accept(x, 'float');
  accept(scale, 'float', 'the scale');
  acceptAlike(bias ? [x, scale, bias] : [x, scale], 'float');
  const normalized = dims.slice(axisOf(axis, dims.length));
  checkSpread('scale', scale!, normalized);
  if (bias) checkSpread('bias', bias, normalized);
  return [x!];
}

function checkSpread(what: string, { dims }: TensorType, normalized: readonly Dim[]): void {
  const missing = normalized.length - dims.length;
  const wrong = missing < 0 ? 0 : dims.findIndex((d, i) => d !== 1 && d !== normalized[i + missing]);
  if (wrong >= 0)
    throw mismatch(`the ${what} does not fit the normalised axes`, `[${normalized.join(', ')}]`, `[${dims.join(', ')}]`);
}

/** (x - mean) / √(variance + epsilon) along axes, or x / √(mean of squares + epsilon); before scale and bias, in x's dtype. */
function normalized(
  x: Value,
  axes: readonly number[],
  epsilon: number,
  stashType: number,
  centre: boolean,
  { add, cast, div, mul, reduceMean, sqrt, sub }: Vocabulary,
): Value {
  const wide = cast(x, stashed(x.dtype, stashType));
  const centred = centre ? sub(wide, reduceMean(wide, axes)) : wide;
  const variance = reduceMean(mul(centred, centred), axes);
  return cast(div(centred, sqrt(add(variance, epsilon))), x.dtype);
}

// Rows of `width` neighbouring elements, each normalised separately.
function normalizedRows(x: NDArray, width: number, epsilon: number, centre: boolean): NDArray {
  const data = new Float64Array(x.data.length);
  for (let row = 0; row < data.length; row += width) {
    let mean = 0;
    if (centre) for (let i = row; i < row + width; i++) mean += x.data[i]! / width;
    let variance = 0;
    for (let i = row; i < row + width; i++) variance += (x.data[i]! - mean) ** 2 / width;
    const scale = 1 / Math.sqrt(variance + epsilon);
    for (let i = row; i < row + width; i++) data[i] = (x.data[i]! - mean) * scale;
  }
  return { ...x, data };
}

function scaled(x: NDArray, scale: NDArray, bias: NDArray | undefined): NDArray {
  const [weights, offsets] = [broadcastTo(scale, x.dims).data, bias && broadcastTo(bias, x.dims).data];
  return { ...x, data: x.data.map((v, i) => v * weights[i]! + (offsets ? offsets[i]! : 0)) };
}

const widthFrom = (axis: number, x: NDArray): number => countOf(x.dims.slice(axisOf(axis, x.dims.length)));

const layerOperands = ['x', 'scale', 'bias?'] as const;
/** ONNX LayerNormalization, without its optional outputs. Operands: x, scale, bias (optional). */
export const LayerNormalization: Op<LayerAttrs, typeof layerOperands> = defineOp<LayerAttrs, typeof layerOperands>({
  key: 'LayerNormalization',
  operands: layerOperands,
  since: 17,
  attributes: layerAttributes,
  infer: inferLayer,
  decompose([x, scale, bias], { axis, epsilon, stash_type }, ops) {
    const y = ops.mul(normalized(x!, axesFrom(axis, x!.rank), epsilon, stash_type, true, ops), scale);
    return [bias ? ops.add(y, bias) : y];
  },
  evaluate: ([x, scale, bias], { axis, epsilon }) => [
    scaled(normalizedRows(x!, widthFrom(axis, x!), epsilon, true), scale!, bias),
  ],
});

/**
 * Layer normalisation over the axes from `axis` on (default: the last).
 *
 *     y = (x - mean(x)) / √(variance(x) + epsilon) · scale + bias
 *
 * Shapes   x any; scale, bias broadcast to x's dims from `axis` on → like x
 * Dtypes   floats, all the same; mean and variance of 16-bit dtypes in float32
 * Throws   ShapeError when scale or bias do not fit, or the dtypes differ
 * Source   Ba et al. 2016, https://arxiv.org/abs/1607.06450
 * Lowers   everywhere: LayerNormalization
 * Example  const y = ops.layerNorm(x, weight);
 */
export const layerNorm = (
  x: Operand,
  scale: Operand,
  bias?: Operand,
  o: { readonly axis?: number; readonly epsilon?: number } = {},
): Value =>
  apply(LayerNormalization, [x, scale, bias], {
    axis: fromEnd(o?.axis ?? -1, x),
    epsilon: o?.epsilon ?? 1e-5,
    stash_type: float32Stash,
  })[0]!;

const rmsOperands = ['x', 'scale'] as const;
/** ONNX RMSNormalization. Operands: x, scale. */
export const RMSNormalization: Op<LayerAttrs, typeof rmsOperands> = defineOp<LayerAttrs, typeof rmsOperands>({
  key: 'RMSNormalization',
  operands: rmsOperands,
  since: 23,
  attributes: layerAttributes,
  infer: ([x, scale], attrs) => inferLayer([x, scale], attrs),
  decompose: ([x, scale], { axis, epsilon, stash_type }, ops) => [
    ops.mul(normalized(x!, axesFrom(axis, x!.rank), epsilon, stash_type, false, ops), scale),
  ],
  evaluate: ([x, scale], { axis, epsilon }) => [
    scaled(normalizedRows(x!, widthFrom(axis, x!), epsilon, false), scale!, undefined),
  ],
});

/**
 * Root mean square normalisation over the axes from `axis` on (default: the last).
 *
 *     y = x / √(mean(x²) + epsilon) · scale
 *
 * Shapes   x any; scale broadcasts to x's dims from `axis` on → like x
 * Dtypes   floats, both the same; the mean of 16-bit dtypes in float32
 * Throws   ShapeError when scale does not fit, or the dtypes differ
 * Source   Zhang and Sennrich 2019, https://arxiv.org/abs/1910.07467
 * Lowers   portable, cpu, wasm, cuda: RMSNormalization · webgpu: primitives
 * Example  const y = ops.rmsNorm(x, weight, { epsilon: 1e-6 });
 */
export const rmsNorm = (x: Operand, scale: Operand, o: { readonly axis?: number; readonly epsilon?: number } = {}): Value =>
  apply(RMSNormalization, [x, scale], {
    axis: fromEnd(o?.axis ?? -1, x),
    epsilon: o?.epsilon ?? 1e-5,
    stash_type: float32Stash,
  })[0]!;

type GroupAttrs = { readonly num_groups: number; readonly epsilon: number; readonly stash_type: number };

const groupOperands = ['x', 'scale', 'bias'] as const;
/** ONNX GroupNormalization. Operands: x [batch, channels, ...], scale [channels], bias [channels]. */
export const GroupNormalization: Op<GroupAttrs, typeof groupOperands> = defineOp<GroupAttrs, typeof groupOperands>({
  key: 'GroupNormalization',
  operands: groupOperands,
  since: 21,
  attributes: { num_groups: 'int', epsilon: 'float', stash_type: 'int' },
  infer(operands, { num_groups }) {
    const [x, scale, bias] = acceptAlike(operands, 'float') as [TensorType, TensorType, TensorType];
    const channels = x.dims[1];
    if (channels === undefined) throw mismatch('the operand has no channels', '[batch, channels, ...]', printType(x));
    if (!Number.isInteger(num_groups) || num_groups < 1)
      throw mismatch('num_groups is not a positive integer', 'an integer >= 1', String(num_groups));
    if (tryDivDims(channels, num_groups) === undefined)
      throw mismatch('the channels are not a multiple of num_groups', `a multiple of ${num_groups}`, String(channels));
    for (const [what, { dims }] of [
      ['scale', scale],
      ['bias', bias],
    ] as const)
      if (dims.length !== 1 || dims[0] !== channels)
        throw mismatch(`the ${what} does not fit the channels`, `[${channels}]`, `[${dims.join(', ')}]`);
    return [x];
  },
  decompose([x, scale, bias], { num_groups, epsilon, stash_type }, ops) {
    const [batch, ...others] = x!.dims as [Dim, ...Dim[]];
    const grouped = ops.reshape(x!, [batch, num_groups, divDims(mulDims(...others), num_groups)]);
    const y = ops.reshape(normalized(grouped, [2], epsilon, stash_type, true, ops), x!.dims);
    const perChannel = (v: Value | undefined) =>
      ops.unsqueeze(
        v!,
        Array.from({ length: x!.rank - 2 }, (_, i) => i + 1),
      );
    return [ops.add(ops.mul(y, perChannel(scale)), perChannel(bias))];
  },
  evaluate([x, scale, bias], { num_groups, epsilon }) {
    const rows = normalizedRows(x!, countOf(x!.dims.slice(1)) / num_groups, epsilon, true);
    const perChannel = (v: NDArray): NDArray => ({ ...v, dims: [v.dims[0]!, ...x!.dims.slice(2).map(() => 1)] });
    return [scaled(rows, perChannel(scale!), perChannel(bias!))];
  },
});

/**
 * Group normalisation: the channels of each batch element are divided into groups, each normalised over all its positions.
 *
 *     y = (x - mean(group)) / √(variance(group) + epsilon) · scale + bias
 *
 * Shapes   x [batch, channels, ...]; scale, bias [channels] → like x
 * Dtypes   floats, all the same; mean and variance of 16-bit dtypes in float32
 * Throws   ShapeError when groups does not divide the channels, scale or bias do not fit, or the dtypes differ
 * Source   Wu and He 2018, https://arxiv.org/abs/1803.08494
 * Lowers   portable: GroupNormalization · cpu, wasm, webgpu, cuda: primitives
 */
export const groupNorm = (
  x: Operand,
  scale: Operand,
  bias: Operand,
  o: { readonly groups: number; readonly epsilon?: number },
): Value => {
  given('groupNorm', { options: o }, { options: anObject });
  return apply(GroupNormalization, [x, scale, bias], {
    num_groups: o.groups,
    epsilon: o.epsilon ?? 1e-5,
    stash_type: float32Stash,
  })[0]!;
};
