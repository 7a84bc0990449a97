// The discrete Fourier transform.
import { addDims, type Dim, floorDivDims, mulDims, subDims } from '../dim/dim';
import { anObject, given } from '../given';
import { defineOp, type Op, printType, type TensorType } from '../ir/define-op';
import { apply, mismatch, type Value } from '../ir/graph';
import { tensor } from '../tensor/convert';
import { countOf, type NDArray, type Tensor } from '../tensor/tensor';
import { accept } from './accept';
import { encoded } from './encode';
import { type Plan, transformed } from './fourier-definition';
import { padTo } from './movement';
import { size } from './shape';
import { axisOf, offsetsAcross, rowMajorStrides } from './strides';

/** `length`: that of the time signal; undefined unless the transform is the inverse of a one-sided spectrum. */
type DFTAttrs = { readonly axis: number; readonly inverse: 0 | 1; readonly onesided: 0 | 1; readonly length?: Dim };

function planOf(dims: readonly Dim[], { axis, inverse, onesided, length }: DFTAttrs): Plan<Dim> {
  const from = dims[axis]!;
  const parts = dims.at(-1) as number;
  const sign = inverse ? 1 : -1;
  if (inverse && onesided) return { length: length!, from, to: length!, parts, partsOut: 1, sign, mirrored: true };
  return { length: from, from, to: onesided ? halfOf(from) : from, parts, partsOut: 2, sign, mirrored: false };
}
const halfOf = (n: Dim): Dim => addDims(floorDivDims(n, 2), 1);

/** ONNX DFT. Operands: x [..., 1 or 2], the real and the imaginary part last; and the length of the signal int64 [] or none. */
export const DFT: Op<DFTAttrs> = defineOp<DFTAttrs>({
  key: 'DFT',
  since: 20,
  attributes: { axis: 'int', inverse: 'int', onesided: 'int', length: 'data' },
  asks: ([x], { axis, inverse, onesided, length }) => ({
    length: length ?? x!.dims[axis]!,
    inverse: inverse === 1,
    'one-sided transform': onesided === 1,
    'complex signal': x!.dims.at(-1) === 2,
  }),
  infer([x], attrs) {
    const { dtype, dims } = accept(x, 'float');
    checkParts(x!, attrs);
    const { from, to, partsOut } = planOf(dims, attrs);
    if (attrs.length !== undefined && from !== halfOf(attrs.length))
      throw mismatch('the spectrum does not fit the length', `${halfOf(attrs.length)} in axis ${attrs.axis}`, String(from));
    return [{ dtype, dims: dims.with(attrs.axis, to).with(-1, partsOut) }];
  },
  decompose([x], attrs, ops) {
    const plan = planOf(x!.dims, attrs);
    const order = x!.dims.map((_, i) => i);
    const toFront = [...order.toSpliced(attrs.axis, 1).slice(0, -1), attrs.axis, order.at(-1)!];
    const moved = ops.transpose(x!, toFront);
    const y = transformed(moved, plan, ops);
    return [
      ops.transpose(
        y,
        order.map((axis) => toFront.indexOf(axis)),
      ),
    ];
  },
  evaluate([x], attrs, bound) {
    const known = attrs.length === undefined ? attrs : { ...attrs, length: bound.of(attrs.length) };
    return [transformedNumbers(x!, attrs.axis, planOf(x!.dims, known) as Plan<number>)];
  },
  encode: (node) => encoded(node, [node.operands[0], node.operands[1], scalar(node.attrs.axis)], ['axis']),
});

const scalar = (n: number): Tensor => tensor('int64', [], [n]);

function checkParts(x: TensorType, { axis, inverse, onesided }: DFTAttrs): void {
  const parts = x.dims.at(-1);
  const last = x.dims.length - 1;
  if (axis >= last)
    throw mismatch(
      'the last axis contains real and imaginary parts and cannot be transformed',
      `an axis before ${last}`,
      String(axis),
    );
  if (parts !== 1 && parts !== 2)
    throw mismatch('the last axis does not contain real and imaginary parts', '1 (real) or 2 (complex)', printType(x));
  if (onesided && parts !== (inverse ? 2 : 1))
    throw mismatch(
      `a one-sided transform ${inverse ? 'back starts from a complex spectrum' : 'starts from a real signal'}`,
      inverse ? '2' : '1',
      String(parts),
    );
}

// ---- As numbers -----------------------------------------------------------------------------------------------------

/** Real and imaginary parts of a signal. */
type Signal = readonly [Float64Array, Float64Array];

/** Σ x[j] exp(−2πi jk / n): by halves while n is even, then by its sum. */
function spectrum([re, im]: Signal): Signal {
  const n = re.length;
  const [real, imaginary]: Signal = [new Float64Array(n), new Float64Array(n)];
  const roots = Array.from({ length: n }, (_, t) => [Math.cos((2 * Math.PI * t) / n), -Math.sin((2 * Math.PI * t) / n)] as const);
  const put = (k: number, x: number, y: number, t: number) => {
    const [c, s] = roots[t]!;
    real[k]! += x * c - y * s;
    imaginary[k]! += x * s + y * c;
  };
  if (n % 2 || n === 0) {
    for (let k = 0; k < n; k++) for (let j = 0; j < n; j++) put(k, re[j]!, im[j]!, (j * k) % n);
    return [real, imaginary];
  }
  const half = (parity: number): Signal => [re.filter((_, j) => j % 2 === parity), im.filter((_, j) => j % 2 === parity)];
  const [even, odd] = [spectrum(half(0)), spectrum(half(1))];
  for (let k = 0; k < n; k++) {
    put(k, even[0][k % (n / 2)]!, even[1][k % (n / 2)]!, 0);
    put(k, odd[0][k % (n / 2)]!, odd[1][k % (n / 2)]!, k);
  }
  return [real, imaginary];
}

/** One line of the transform: `read` gives the part of an element, backwards conj(spectrum(conj(x))) / n. */
function line({ length, from, sign, mirrored }: Plan<number>, read: (j: number, part: number) => number): Signal {
  const [re, im] = [new Float64Array(length), new Float64Array(length)];
  for (let j = 0; j < length; j++) {
    const image = mirrored && j >= from;
    const at = image ? length - j : j;
    re[j] = read(at, 0);
    im[j] = (image ? -1 : 1) * read(at, 1) * -sign;
  }
  // What stands at both ends of half a spectrum is its own mirror image, so its imaginary part counts for nothing.
  const [real, imaginary] = spectrum([re, im]);
  return sign > 0 ? [real.map((v) => v / length), imaginary.map((v) => -v / length)] : [real, imaginary];
}

function transformedNumbers(x: NDArray, axis: number, plan: Plan<number>): NDArray {
  const { to, parts, partsOut } = plan;
  const dims = x.dims.with(axis, to).with(-1, partsOut);
  const data = new Float64Array(countOf(dims));
  const last = dims.length - 1;
  const [stride, strideOut] = [rowMajorStrides(x.dims)[axis]!, rowMajorStrides(dims)[axis]!];
  const [starts, startsOut] = [offsetsAcross(x.dims, [axis, last]), offsetsAcross(dims, [axis, last])];
  for (let i = 0; i < starts.length; i++) {
    const result = line(plan, (j, part) => (part < parts ? x.data[starts[i]! + j * stride + part]! : 0));
    for (let k = 0; k < to; k++)
      for (let part = 0; part < partsOut; part++) data[startsOut[i]! + k * strideOut + part] = result[part]![k]!;
  }
  return { dtype: x.dtype, dims, data };
}

/** Options of {@link dft}. */
export interface FourierOptions {
  /** The axis to transform. Default -2, the last axis before that of the real and imaginary parts. */
  readonly axis?: number;
  /** The inverse transform, from frequencies to time, divided by the length. Default false. */
  readonly inverse?: boolean;
  /** Only the frequencies from 0 to half the length, of a real signal; with `inverse` from these to the real signal. Default false. */
  readonly onesided?: boolean;
  /** The length of the time signal: it is padded with zeros or truncated at the end. Default: that of the axis. */
  readonly length?: Dim;
}

/**
 * The discrete Fourier transform `X[k] = Σ x[j] exp(-2πi jk / n)`, or with `inverse` `x[j] = Σ X[k] exp(2πi jk / n) / n`.
 *
 * Shapes   x [..., n, 1] (real) or [..., n, 2] (real and imaginary part) → [..., n, 2]; onesided [..., floorDiv(n, 2) + 1, 2], and back
 *          [..., length, 1], where the length is 2 * (m - 1) for m frequencies unless it is given
 * Dtypes   floats
 * Cost     by products: time O(n √n) for each line, of a prime or unknown n > 256 O(n²/64); memory O(n), of an unknown n also O((n/32)²)
 * Throws   ShapeError when the last axis is not 1 or 2, or a one-sided transform is given a complex signal
 * Lowers   portable, cpu, wasm: DFT, MatMul · cuda, webgpu: MatMul
 * Example  const spectrum = ops.dft(ops.unsqueeze(x, [-1]));
 */
export function dft(x: Value, o: FourierOptions = {}): Value {
  given('dft', { x, options: o }, { options: anObject });
  const axis = x.graph.located(DFT.key, [x], () => axisOf(o.axis ?? -2, x.rank));
  const [inverse, onesided] = [o.inverse ? 1 : 0, o.onesided ? 1 : 0] as const;
  if (!(inverse && onesided))
    return apply(DFT, [o.length === undefined ? x : padTo(x, axis, o.length)], { axis, inverse, onesided })[0]!;
  const usual = mulDims(2, subDims(x.dims[axis]!, 1));
  const length = o.length ?? usual;
  const spectrum = padTo(x, axis, halfOf(length));
  return apply(DFT, [spectrum, length === usual ? undefined : size(x, length, [x])], { axis, inverse, onesided, length })[0]!;
}
