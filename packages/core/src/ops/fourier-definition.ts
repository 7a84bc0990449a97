// The discrete Fourier transform in other ops: a product with cosines and sines, or, where that matrix would be large, several with small ones.
import { addDims, ceilDivDims, type Dim, floorDivDims, mulDims, subDims } from '../dim/dim';
import { isFilled, type Value, type Vocabulary } from '../ir/graph';
import { toTensor } from '../tensor/convert';

/** The sizes of a transform: elements in and out on the axis, numbers per element in and out, and the length of the signal. */
export interface Plan<D extends Dim> {
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

/** The longest signal that is transformed by one matrix, of 4 · length² numbers. */
const longest = 256;

/**
 * x [..., from, parts] → [..., to, partsOut].
 *
 * Up to 256 elements by one matrix. A longer signal of n = n₁ n₂ elements is transformed in rows of n₁ and then of n₂ (Cooley and Tukey 1965), a
 * prime or unknown number by way of a convolution of another length (Bluestein 1970): memory O(n) instead of O(n²).
 */
export function transformed(x: Value, plan: Plan<Dim>, ops: Vocabulary): Value {
  const { length } = plan;
  if (typeof length === 'number') return length <= longest ? byMatrix(x, plan, ops) : transformLong(x, plan, ops);
  const short = ops.lessOrEqual(ops.size(x, length, [x]), longest);
  return ops.cond(
    short,
    () => [byMatrix(x, plan, ops)],
    () => [transformLong(x, plan, ops)],
  )[0]!;
}

// ---- By one matrix --------------------------------------------------------------------------------------------------

function byMatrix(x: Value, plan: Plan<Dim>, ops: Vocabulary): Value {
  const leading = x.dims.slice(0, -2);
  const rows = ops.reshape(x, [...leading, mulDims(plan.from, plan.parts)]);
  return ops.reshape(ops.matmul(rows, matrixOf(x, plan, ops)), [...leading, plan.to, plan.partsOut]);
}

/** The factor of input j in output k, a complex number. An element of a one-sided spectrum stands for itself and its conjugate, so it counts twice. */
function factors(j: number, k: number, { length, sign, mirrored }: Plan<number>): readonly [real: number, imaginary: number] {
  const angle = (2 * Math.PI * ((j * k) % length)) / length;
  const occurrences = mirrored && j !== 0 && 2 * j !== length ? 2 : 1;
  const scale = sign > 0 ? occurrences / length : 1;
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

/** The matrix of the transform: a constant if the sizes are known, otherwise computed at run time. */
function matrixOf(x: Value, plan: Plan<Dim>, ops: Vocabulary): Value {
  const { length, from, to, parts, partsOut } = plan;
  const dims = [mulDims(from, parts), mulDims(to, partsOut)];
  if ([length, from, to].every((n) => typeof n === 'number')) {
    const data = matrixOfNumbers(plan as Plan<number>);
    return x.graph.constant(toTensor({ dtype: x.dtype, dims: dims as number[], data }));
  }
  const [real, imaginary] = symbolicFactors(x, plan, ops);
  const first = stacked([real, imaginary].slice(0, partsOut), 2, ops);
  const rows = parts === 1 ? first : stacked([first, stacked([ops.neg(imaginary), real].slice(0, partsOut), 2, ops)], 1, ops);
  return ops.cast(ops.reshape(rows, dims), x.dtype);
}

const stacked = (values: readonly Value[], axis: number, ops: Vocabulary): Value =>
  ops.concat(
    values.map((v) => ops.unsqueeze(v, [axis])),
    axis,
  );

// The dtype of angles: at least float32, since float16 is too coarse for t / n of a long signal.
const angleDtype = (x: Value): 'float32' | 'float64' => (x.dtype === 'float64' ? 'float64' : 'float32');

function symbolicFactors(x: Value, { length, from, to, sign, mirrored }: Plan<Dim>, ops: Vocabulary): readonly [Value, Value] {
  const dtype = angleDtype(x);
  const size = ops.size(x, length, [x]);
  // The angles of no elements are not read, but a remainder of a division by 0 is an error.
  const n = isFilled(length, x.graph.filled) ? size : ops.max(size, 1);
  const row = ops.unsqueeze(ops.iota(x, from), [1]);
  const turns = ops.mod(ops.mul(row, ops.unsqueeze(ops.iota(x, to), [0])), n);
  const angle = ops.mul(ops.div(ops.cast(turns, dtype), ops.cast(n, dtype)), 2 * Math.PI);
  const single = ops.logicalOr(ops.equal(row, 0), ops.equal(ops.mul(row, 2), n));
  const weight = mirrored ? ops.where(single, x.graph.number(1, dtype), x.graph.number(2, dtype)) : 1;
  const scaled = (v: Value) => (sign > 0 ? ops.div(ops.mul(v, weight), ops.cast(n, dtype)) : v);
  return [scaled(ops.cos(angle)), scaled(sign > 0 ? ops.sin(angle) : ops.neg(ops.sin(angle)))];
}

// ---- By Cooley and Tukey, or Bluestein ------------------------------------------------------------------------------

/** Computes the whole spectrum or signal, and takes the part that the plan asks for. The inverse transform is conj(forwards(conj(x))) / n. */
function transformLong(x: Value, { length, to, partsOut, sign, mirrored }: Plan<Dim>, ops: Vocabulary): Value {
  const given = mirrored ? wholeSpectrum(x, length, ops) : x;
  const y = forwards(sign > 0 ? conjugate(given, ops) : given, length, ops);
  const whole = sign > 0 ? ops.div(conjugate(y, ops), ops.cast(ops.size(x, length, [x]), x.dtype)) : y;
  const rows = to === length ? whole : ops.slice(whole, { axes: [-2], starts: [0], ends: [to] });
  return partsOut === 2 ? rows : ops.slice(rows, { axes: [-1], starts: [0], ends: [1] });
}

/** A one-sided spectrum [..., floorDiv(n, 2) + 1, 2] and its complex conjugate, [..., n, 2]. */
function wholeSpectrum(x: Value, length: Dim, ops: Vocabulary): Value {
  const rest = subDims(length, addDims(floorDivDims(length, 2), 1));
  const others = ops.slice(x, { axes: [-2], starts: [1], ends: [addDims(rest, 1)] });
  return ops.concat([x, conjugate(ops.flip(others, -2), ops)], -2);
}

function forwards(x: Value, length: Dim, ops: Vocabulary): Value {
  const first = typeof length === 'number' ? nearestDivisor(length) : 1;
  return first > 1 ? cooleyTukey(x, [first, (length as number) / first], ops) : bluestein(x, length, ops);
}

/** The largest divisor that is not larger than the square root. */
function nearestDivisor(n: number): number {
  let d = Math.floor(Math.sqrt(n));
  while (n % d) d--;
  return d;
}

/**
 * Cooley and Tukey: with j = n₂ j₁ + j₂ and k = k₁ + n₁ k₂,
 *
 *     X[k] = Σ_j₂ exp(−2πi j₂ k₁ / n) (Σ_j₁ x[j] exp(−2πi j₁ k₁ / n₁)) exp(−2πi j₂ k₂ / n₂)
 */
function cooleyTukey(x: Value, [n1, n2]: readonly [Dim, Dim], ops: Vocabulary): Value {
  const leading = x.dims.slice(0, -2);
  const axis = leading.length;
  const swap = (y: Value): Value => ops.transpose(y, [...leading.keys(), axis + 1, axis, axis + 2]);
  const rows = swap(ops.reshape(x, [...leading, n1, n2, x.dims.at(-1)!]));
  const turned = times(
    transformRows(rows, ops),
    twiddles(x, ops.mul(ops.unsqueeze(ops.iota(x, n2), [1]), ops.iota(x, n1)), mulDims(n1, n2), ops),
    ops,
  );
  return ops.reshape(swap(transformRows(swap(turned), ops)), [...leading, mulDims(n1, n2), 2]);
}

/** The transform of each row: by a matrix up to `longest` elements, which is more exact than the kernels of DFT, and for an unknown number of blocks, of which there are few. */
function transformRows(x: Value, ops: Vocabulary): Value {
  const [length, parts] = x.dims.slice(-2) as [Dim, number];
  if (typeof length === 'number' && length > longest) return ops.dft(x);
  return byMatrix(x, { length, from: length, to: length, parts, partsOut: 2, sign: -1, mirrored: false }, ops);
}

/** Twiddle factors exp(−2πi t / n); the last axis has the real and the imaginary part. */
function twiddles(x: Value, t: Value, n: Dim, ops: Vocabulary): Value {
  const dtype = angleDtype(x);
  const angle = ops.mul(ops.div(ops.cast(t, dtype), ops.cast(ops.size(x, n, [x]), dtype)), -2 * Math.PI);
  return ops.cast(stacked([ops.cos(angle), ops.sin(angle)], t.rank, ops), x.dtype);
}

const partsOf = (x: Value, ops: Vocabulary): readonly [Value, Value] => {
  const take = (i: number): Value => ops.slice(x, { axes: [-1], starts: [i], ends: [i + 1] });
  return [take(0), take(1)];
};

const conjugate = (x: Value, ops: Vocabulary): Value => (x.dims.at(-1) === 1 ? x : ops.mul(x, x.graph.number([1, -1], x.dtype)));

/** The product of complex numbers; one of them may be real. */
function times(x: Value, y: Value, ops: Vocabulary): Value {
  if (x.dims.at(-1) === 1 || y.dims.at(-1) === 1) return ops.mul(x, y);
  const [a, b] = partsOf(x, ops);
  const [c, d] = partsOf(y, ops);
  return ops.concat([ops.sub(ops.mul(a, c), ops.mul(b, d)), ops.add(ops.mul(a, d), ops.mul(b, c))], -1);
}

/** Two powers of two whose product is the least one from n on. */
function powersOfTwo(n: number): readonly [number, number] {
  const bits = Math.ceil(Math.log2(n));
  return [2 ** Math.floor(bits / 2), 2 ** Math.ceil(bits / 2)];
}

/** n₁ of a signal of unknown length, which is padded to a multiple of it. */
const block = 128;

/**
 * Bluestein: since j k = (j² + k² − (k − j)²) / 2, the transform is a convolution with a chirp, of any length from 2n − 1 on:
 *
 *     X[k] = w[k] Σ_j (x[j] w[j]) / w[k − j]      w[j] = exp(−πi j² / n)
 */
function bluestein(x: Value, n: Dim, ops: Vocabulary): Value {
  const least = subDims(mulDims(2, n), 1);
  const halves = typeof least === 'number' ? powersOfTwo(least) : ([block, ceilDivDims(least, block)] as const);
  const padded = mulDims(...halves);
  const forwardsTo = (y: Value): Value => cooleyTukey(y, halves, ops);
  const twice = mulDims(2, n);
  const chirp = (t: Value): Value => twiddles(x, ops.mod(ops.mul(t, t), ops.size(x, twice, [x])), twice, ops);
  const w = chirp(ops.iota(x, n));
  // The convolution is cyclic: 1 / w[t] is at the indices t and padded − t, since w[−t] = w[t].
  const index = ops.iota(x, padded);
  const distance = ops.min(index, ops.sub(ops.size(x, padded, [x]), index));
  const filter = ops.where(ops.unsqueeze(ops.less(distance, ops.size(x, n, [x])), [1]), conjugate(chirp(distance), ops), 0);
  const product = times(forwardsTo(ops.padTo(times(x, w, ops), -2, padded)), forwardsTo(filter), ops);
  const convolved = ops.div(conjugate(forwardsTo(conjugate(product, ops)), ops), ops.cast(ops.size(x, padded, [x]), x.dtype));
  return times(ops.slice(convolved, { axes: [-2], starts: [0], ends: [n] }), w, ops);
}
