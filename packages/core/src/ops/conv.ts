// Convolutions over any number of spatial axes, and their transposes.
import { type Dim, mulDims, tryDivDims } from '../dim/dim';
import { anObject, given } from '../given';
import { countIn, defineOp, type Op, printType, type TensorType } from '../ir/define-op';
import { apply, mismatch, type Operand, type Value, type Vocabulary } from '../ir/graph';
import { countOf, type NDArray } from '../tensor/tensor';
import { acceptAlike } from './accept';
import {
  coveredSizes,
  fitted,
  placesOf,
  spatialAxes,
  spatialOf,
  unfold,
  type Window,
  type WindowOptions,
  windowCounts,
  windowOf,
} from './sliding';

type ConvAttrs = Window & { readonly group: number };
type ConvTransposeAttrs = ConvAttrs & { readonly output_padding: readonly number[] };

const windowAttributes = { kernel_shape: 'ints', strides: 'ints', pads: 'ints', dilations: 'ints', group: 'int' } as const;

/** Strides, pads, dilations and groups of a convolution. */
export interface ConvOptions extends WindowOptions {
  /** Number of groups into which the channels are divided; each output channel depends on one group only. Default 1. */
  readonly group?: number;
}

// ---- Conv -----------------------------------------------------------------------------------------------------------

function checkWeight(x: TensorType, weight: TensorType, bias: TensorType | undefined, channels: Dim, out: Dim): void {
  if (weight.dims.length !== x.dims.length)
    throw mismatch('the weight and x have different numbers of axes', printType(x), printType(weight));
  if (x.dims[1] !== channels)
    throw mismatch(`the weight requires ${channels} channels`, `${channels} in axis 1 of x`, String(x.dims[1]));
  if (bias && (bias.dims.length !== 1 || bias.dims[0] !== out))
    throw mismatch('the bias does not fit the weight', `[${out}]`, printType(bias));
}

function groupsOf(size: Dim, group: number, what: string): Dim {
  const each = tryDivDims(size, group);
  if (each === undefined)
    throw mismatch(`the ${what} cannot be divided into ${group} groups`, `a multiple of ${group}`, String(size));
  return each;
}

const convOperands = ['x', 'weight', 'bias?'] as const;
/** ONNX Conv. Operands: x, the weight [out, in / group, ...kernel], and the bias [out] or none. */
export const Conv: Op<ConvAttrs, typeof convOperands> = defineOp<ConvAttrs, typeof convOperands>({
  key: 'Conv',
  operands: convOperands,
  since: 11,
  attributes: windowAttributes,
  infer([x, weight, bias], attrs) {
    acceptAlike(bias ? [x, weight, bias] : [x, weight], 'float');
    const [out, inner] = weight!.dims as readonly [Dim, Dim];
    groupsOf(out, attrs.group, 'output channels');
    checkWeight(x!, weight!, bias, mulDims(inner, attrs.group), out);
    return [{ dtype: x!.dtype, dims: [x!.dims[0]!, out, ...windowCounts(spatialOf(x!), attrs)] }];
  },
  flops: ({ operands: [, weight, bias], outputs: [y] }, sizes) =>
    countIn(y!, sizes) * (2 * countIn({ dims: weight!.dims.slice(1) }, sizes) + (bias ? 1 : 0)),
  // The pads are there also if x has no elements.
  ofNothing([x, weight, bias], attrs, ops) {
    const dims = [x!.dims[0]!, weight!.dims[0]!, ...windowCounts(spatialOf(x!), attrs)];
    return [onlyBias(x!, dims, bias, ops)];
  },
  evaluate: ([x, weight, bias], attrs) => [convolved(x!, weight!, bias, attrs)],
  vjp({ operands: [x, weight, bias], attrs }, [grad], ops) {
    if (!grad) return [];
    const { group, strides, dilations } = attrs;
    const covered = convTranspose(grad, weight!, undefined, { group, strides, dilations });
    return [fitted(covered, spatialOf(x!), attrs, ops), weightGradient(x!, grad, attrs, ops), bias && biasGradient(grad, ops)];
  },
});

function convolved(x: NDArray, weight: NDArray, bias: NDArray | undefined, attrs: ConvAttrs): NDArray {
  const [batch, channels] = x.dims as readonly [number, number];
  const [out, inner] = weight.dims as readonly [number, number];
  const spatial = x.dims.slice(2);
  const counts = windowCounts(spatial, attrs) as number[];
  const places = placesOf(spatial, counts, attrs);
  const [plane, windows, elements] = [countOf(spatial), countOf(counts), countOf(attrs.kernel_shape)];
  const dims = [batch, out, ...counts];
  const data = new Float64Array(countOf(dims));
  eachPair(batch, attrs.group, out / attrs.group, inner, (n, g, o, c) => {
    const [from, to] = [(n * channels + g * inner + c) * plane, (n * out + o) * windows];
    const kernel = (o * inner + c) * elements;
    for (let w = 0; w < windows; w++)
      for (let e = 0; e < elements; e++) {
        const place = places[w * elements + e]!;
        if (place >= 0) data[to + w]! += weight.data[kernel + e]! * x.data[from + place]!;
      }
  });
  addBias(data, bias, windows);
  return { dtype: x.dtype, dims, data };
}

// Calls f for every batch entry, group, output channel (counted over all groups) and input channel (counted in its group).
function eachPair(
  batch: number,
  groups: number,
  outer: number,
  inner: number,
  f: (n: number, g: number, o: number, i: number) => void,
): void {
  for (let n = 0; n < batch; n++)
    for (let g = 0; g < groups; g++) for (let o = 0; o < outer; o++) for (let i = 0; i < inner; i++) f(n, g, g * outer + o, i);
}

function addBias(data: Float64Array, bias: NDArray | undefined, each: number): void {
  if (bias) for (let i = 0; i < data.length; i++) data[i]! += bias.data[Math.floor(i / each) % bias.data.length]!;
}

function onlyBias(x: Value, dims: readonly Dim[], bias: Value | undefined, { OnnxExpand, reshape, sizes }: Vocabulary): Value {
  const each = bias ? reshape(bias, [1, bias.dims[0]!, ...spatialAxes(x).map(() => 1)]) : x.graph.number(0, x.dtype);
  return apply(OnnxExpand, [each, sizes(x.graph, dims, [x])], { dims })[0]!;
}

const biasGradient = (grad: Value, { reduceSum }: Vocabulary): Value =>
  reduceSum(grad, [0, ...spatialAxes(grad)], { keepDims: false });

/** [out, in / group, ...kernel], from the input and the gradient of the output; for a transposed convolution with these exchanged. */
function weightGradient(x: Value, grad: Value, attrs: ConvAttrs, ops: Vocabulary): Value {
  const { group, kernel_shape } = attrs;
  const [batch, channels, elements] = [x.dims[0]!, x.dims[1]!, countOf(kernel_shape)];
  const [inner, outer] = [groupsOf(channels, group, 'channels'), groupsOf(grad.dims[1]!, group, 'channels')];
  const windows = mulDims(...spatialOf(grad));
  const columns = ops.reshape(unfold(x, attrs, 0, ops), [batch, group, inner, elements, windows]);
  const rows = ops.reshape(grad, [batch, group, outer, windows]);
  return ops.reshape(ops.einsum('bgcew,bgow->goce', columns, rows), [grad.dims[1]!, inner, ...kernel_shape]);
}

/**
 * A convolution (cross-correlation: the kernel is not flipped).
 *
 * Shapes   x [batch, in, ...spatial], weight [out, in / group, ...kernel], bias [out] or none
 *          → [batch, out, ...], on each axis floorDiv(size + pads - dilation * (kernel - 1) - 1, stride) + 1
 * Dtypes   floats, all the same
 * Throws   ShapeError when channels, groups or kernel do not fit
 * Lowers   everywhere: Conv
 * Example  const y = ops.conv(x, weight, undefined, { strides: [2, 2] });
 */
export function conv(x: Value, weight: Operand, bias?: Operand, o: ConvOptions = {}): Value {
  given('conv', { x, options: o }, { options: anObject });
  const window = windowOf(Conv.key, x, kernelOf(weight, x, Conv.key), o);
  return apply(Conv, [x, weight, bias], { ...window, group: o.group ?? 1 })[0]!;
}

function kernelOf(weight: Operand, x: Value, key: string): readonly Dim[] {
  if (typeof weight === 'object' && Array.isArray(weight?.dims)) return weight.dims.slice(2);
  return x.graph.located(key, [x], () => {
    throw mismatch('the weight is missing');
  });
}

// ---- ConvTranspose --------------------------------------------------------------------------------------------------

const convTransposeOperands = ['x', 'weight', 'bias?'] as const;
/** ONNX ConvTranspose. Operands: x, the weight [in, out / group, ...kernel], and the bias [out] or none. */
export const ConvTranspose: Op<ConvTransposeAttrs, typeof convTransposeOperands> = defineOp<
  ConvTransposeAttrs,
  typeof convTransposeOperands
>({
  key: 'ConvTranspose',
  operands: convTransposeOperands,
  since: 11,
  attributes: { ...windowAttributes, output_padding: 'ints' },
  form: ({ output_padding: padding }) => `output_padding=${padding?.some((n) => n !== 0) ? 'some' : 'none'}`,
  infer([x, weight, bias], attrs) {
    acceptAlike(bias ? [x, weight, bias] : [x, weight], 'float');
    const [channels, inner] = weight!.dims as readonly [Dim, Dim];
    groupsOf(channels, attrs.group, 'input channels');
    const out = mulDims(inner, attrs.group);
    checkWeight(x!, weight!, bias, channels, out);
    if (attrs.output_padding.some((n, axis) => n >= attrs.strides[axis]!))
      throw mismatch(
        'output_padding is not smaller than the stride',
        `less than [${attrs.strides}]`,
        `[${attrs.output_padding}]`,
      );
    const sizes = coveredSizes(spatialOf(x!), attrs, attrs.output_padding);
    const none = sizes.find((size) => typeof size === 'number' && size < 0);
    if (none !== undefined) throw mismatch('the pads remove more elements than there are', 'a size of at least 0', String(none));
    return [{ dtype: x!.dtype, dims: [x!.dims[0]!, out, ...sizes] }];
  },
  flops: ({ operands: [x, weight, bias], outputs: [y] }, sizes) =>
    2 * countIn(x!, sizes) * countIn({ dims: weight!.dims.slice(1) }, sizes) + (bias ? countIn(y!, sizes) : 0),
  evaluate: ([x, weight, bias], attrs) => [convolvedBack(x!, weight!, bias, attrs)],
  vjp({ operands: [x, weight, bias], attrs }, [grad], ops) {
    if (!grad) return [];
    return [conv(grad, weight!, undefined, attrs), weightGradient(grad, x!, attrs, ops), bias && biasGradient(grad, ops)];
  },
});

function convolvedBack(x: NDArray, weight: NDArray, bias: NDArray | undefined, attrs: ConvTransposeAttrs): NDArray {
  const [batch, channels] = x.dims as readonly [number, number];
  const [inner, out] = [weight.dims[1]!, weight.dims[1]! * attrs.group];
  const counts = x.dims.slice(2);
  const spatial = coveredSizes(counts, attrs, attrs.output_padding) as number[];
  const places = placesOf(spatial, counts, attrs);
  const [plane, windows, elements] = [countOf(spatial), countOf(counts), countOf(attrs.kernel_shape)];
  const dims = [batch, out, ...spatial];
  const data = new Float64Array(countOf(dims));
  eachPair(batch, attrs.group, channels / attrs.group, inner, (n, g, c, o) => {
    const [from, to] = [(n * channels + c) * windows, (n * out + g * inner + o) * plane];
    const kernel = (c * inner + o) * elements;
    for (let w = 0; w < windows; w++)
      for (let e = 0; e < elements; e++) {
        const place = places[w * elements + e]!;
        if (place >= 0) data[to + place]! += weight.data[kernel + e]! * x.data[from + w]!;
      }
  });
  addBias(data, bias, plane);
  return { dtype: x.dtype, dims, data };
}

/**
 * The transpose of a convolution as a linear map: every element of x adds a multiple of the kernel to the result, `strides` apart; overlaps are summed.
 *
 * Shapes   x [batch, in, ...spatial], weight [in, out / group, ...kernel], bias [out] or none
 *          → [batch, out, ...], on each axis stride * (size - 1) + dilation * (kernel - 1) + 1 - pads + outputPadding
 * Dtypes   floats, all the same
 * Throws   ShapeError when channels, groups or kernel do not fit, or outputPadding is not below the stride
 * Lowers   everywhere: ConvTranspose
 */
export function convTranspose(
  x: Value,
  weight: Operand,
  bias?: Operand,
  o: ConvOptions & { readonly outputPadding?: readonly number[] } = {},
): Value {
  given('convTranspose', { x, options: o }, { options: anObject });
  const window = windowOf(ConvTranspose.key, x, kernelOf(weight, x, ConvTranspose.key), o);
  const output_padding = o.outputPadding ?? window.strides.map(() => 0);
  return apply(ConvTranspose, [x, weight, bias], { ...window, group: o.group ?? 1, output_padding })[0]!;
}
