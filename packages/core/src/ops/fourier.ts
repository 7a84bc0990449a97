// The discrete Fourier transform.
import { addDims, type Dim, floorDivDims, mulDims, subDims } from '../dim/dim';
import { defineOp, type Op, printType, type TensorType } from '../ir/define-op';
import { apply, mismatch, type Value, type Vocabulary } from '../ir/graph';
import { tensor, toTensor } from '../tensor/convert';
import { countOf, type NDArray, type Tensor } from '../tensor/tensor';
import { accept } from './accept';
import { encoded } from './encode';
import { padTo } from './movement';
import { size } from './shape';
import { axisOf, offsetsAcross, rowMajorStrides } from './strides';

/** `length`: that of the time signal; undefined unless the transform is the inverse of a one-sided spectrum. */
type DFTAttrs = { readonly axis: number; readonly inverse: 0 | 1; readonly onesided: 0 | 1; readonly length?: Dim };

/** The sizes of a transform: elements in and out on the axis, numbers per element in and out, and the length of the signal. */
interface Plan<D extends Dim> {
  readonly length: D;
  readonly from: D;
  readonly to: D;
  readonly parts: number;
  readonly partsOut: number;
  /** The sign of the angle: +1 for the inverse transform, -1 otherwise. */
  readonly sign: 1 | -1;
  /** Whether the input is a one-sided spectrum, whose other half is its complex conjugate. */
  readonly mirrored: boolean;
}

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
    const leading = moved.dims.slice(0, -2);
    const rows = ops.reshape(moved, [...leading, mulDims(plan.from, plan.parts)]);
    const y = ops.reshape(ops.matmul(rows, matrixOf(x!, plan, ops)), [...leading, plan.to, plan.partsOut]);
    return [
      ops.transpose(
        y,
        order.map((axis) => toFront.indexOf(axis)),
      ),
    ];
  },
  evaluate([x], attrs, bound) {
    const known = attrs.length === undefined ? attrs : { ...attrs, length: bound.of(attrs.length) };
    return [transformed(x!, attrs.axis, planOf(x!.dims, known) as Plan<number>)];
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

/** The coefficients of the real and the imaginary part of input j in those of output k. */
function factors(j: number, k: number, { length, sign, mirrored }: Plan<number>): readonly [real: number, imaginary: number] {
  const angle = (2 * Math.PI * ((j * k) % length)) / length;
  const inner = mirrored && j !== 0 && 2 * j !== length ? 2 : 1;
  const scale = sign > 0 ? inner / length : 1;
  return [Math.cos(angle) * scale, Math.sin(angle) * sign * scale];
}

/** The matrix of the transform, [from * parts, to * partsOut]. */
function matrixOfNumbers(plan: Plan<number>): Float64Array {
  const { from, to, parts, partsOut } = plan;
  const data = new Float64Array(from * parts * to * partsOut);
  const put = (j: number, part: number, k: number, partOut: number, value: number) => {
    if (part < parts && partOut < partsOut) data[((j * parts + part) * to + k) * partsOut + partOut] = value;
  };
  for (let j = 0; j < from; j++)
    for (let k = 0; k < to; k++) {
      const [real, imaginary] = factors(j, k, plan);
      put(j, 0, k, 0, real);
      put(j, 0, k, 1, imaginary);
      put(j, 1, k, 0, -imaginary);
      put(j, 1, k, 1, real);
    }
  return data;
}

function transformed(x: NDArray, axis: number, plan: Plan<number>): NDArray {
  const { from, to, parts, partsOut } = plan;
  const dims = x.dims.with(axis, to).with(-1, partsOut);
  const data = new Float64Array(countOf(dims));
  const matrix = matrixOfNumbers(plan);
  const last = dims.length - 1;
  const [stride, strideOut] = [rowMajorStrides(x.dims)[axis]!, rowMajorStrides(dims)[axis]!];
  const [starts, startsOut] = [offsetsAcross(x.dims, [axis, last]), offsetsAcross(dims, [axis, last])];
  const columns = to * partsOut;
  for (let line = 0; line < starts.length; line++)
    for (let row = 0; row < from * parts; row++) {
      const value = x.data[starts[line]! + Math.floor(row / parts) * stride + (row % parts)]!;
      for (let column = 0; column < columns; column++) {
        const at = startsOut[line]! + Math.floor(column / partsOut) * strideOut + (column % partsOut);
        data[at]! += value * matrix[row * columns + column]!;
      }
    }
  return { dtype: x.dtype, dims, data };
}

// ---- As values ------------------------------------------------------------------------------------------------------

/** The matrix of the transform: a constant if the sizes are known, otherwise computed at run time. */
function matrixOf(x: Value, plan: Plan<Dim>, ops: Vocabulary): Value {
  const { length, from, to, parts, partsOut } = plan;
  const dims = [mulDims(from, parts), mulDims(to, partsOut)];
  if ([length, from, to].every((n) => typeof n === 'number')) {
    const data = matrixOfNumbers(plan as Plan<number>);
    return x.graph.constant(toTensor({ dtype: x.dtype, dims: dims as number[], data }));
  }
  const [real, imaginary] = symbolicFactors(x, plan, ops);
  const stacked = (values: readonly Value[], axis: number) =>
    ops.concat(
      values.map((v) => ops.unsqueeze(v, [axis])),
      axis,
    );
  const first = stacked([real, imaginary].slice(0, partsOut), 2);
  const rows = parts === 1 ? first : stacked([first, stacked([ops.neg(imaginary), real].slice(0, partsOut), 2)], 1);
  return ops.cast(ops.reshape(rows, dims), x.dtype);
}

// At least float32, because the angles cover a full circle.
function symbolicFactors(
  x: Value,
  { length, from, to, sign, mirrored }: Plan<Dim>,
  { cast, cos, div, equal, iota, logicalOr, mod, mul, neg, sin, size, unsqueeze, where }: Vocabulary,
): readonly [Value, Value] {
  const dtype = x.dtype === 'float64' ? 'float64' : 'float32';
  const n = size(x, length, [x]);
  const row = unsqueeze(iota(x, from), [1]);
  const turns = mod(mul(row, unsqueeze(iota(x, to), [0])), n);
  const angle = mul(div(cast(turns, dtype), cast(n, dtype)), 2 * Math.PI);
  const single = logicalOr(equal(row, 0), equal(mul(row, 2), n));
  const weight = mirrored ? where(single, x.graph.number(1, dtype), x.graph.number(2, dtype)) : 1;
  const scaled = (v: Value) => (sign > 0 ? div(mul(v, weight), cast(n, dtype)) : v);
  return [scaled(cos(angle)), scaled(sign > 0 ? sin(angle) : neg(sin(angle)))];
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
 * Throws   ShapeError when the last axis is not 1 or 2, or a one-sided transform is given a complex signal
 * Lowers   portable, cpu, wasm, webgpu: DFT, MatMul · cuda: MatMul
 * Example  const spectrum = ops.dft(ops.unsqueeze(x, [-1]));
 */
export function dft(x: Value, o: FourierOptions = {}): Value {
  const axis = x.graph.located(DFT.key, [x], () => axisOf(o.axis ?? -2, x.rank));
  const [inverse, onesided] = [o.inverse ? 1 : 0, o.onesided ? 1 : 0] as const;
  if (!(inverse && onesided))
    return apply(DFT, [o.length === undefined ? x : padTo(x, axis, o.length)], { axis, inverse, onesided })[0]!;
  const usual = mulDims(2, subDims(x.dims[axis]!, 1));
  const length = o.length ?? usual;
  const spectrum = padTo(x, axis, halfOf(length));
  return apply(DFT, [spectrum, length === usual ? undefined : size(x, length, [x])], { axis, inverse, onesided, length })[0]!;
}
