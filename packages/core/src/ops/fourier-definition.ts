// The discrete Fourier transform in other ops: a product with cosines and sines, or, where that matrix would be large, several with small ones.
import { addDims, ceilDivDims, type Dim, floorDivDims, mulDims, subDims } from '../dim/dim';
import type { Value } from '../ir/graph';
import { toTensor } from '../tensor/convert';
import { cast } from './cast';
import { equal, less, lessOrEqual, logicalOr, where } from './comparison';
import { cond } from './control';
import { add, cos, div, min, mod, mul, neg, sin, sub } from './elementwise';
import { matmul } from './matmul';
import { concat, flip, padTo, reshape, slice, transpose, unsqueeze } from './movement';
import { iota, size } from './shape';

/** The sizes of a transform: elements in and out on the axis, numbers per element in and out, and the length of the signal. */
export interface Plan<D extends Dim> {
  readonly length: D;
  readonly from: D;
  readonly to: D;
  readonly parts: number;
  readonly partsOut: number;
  /** +1 backwards, -1 forwards: the sign in front of the angle. */
  readonly sign: 1 | -1;
  /** Whether the input is half a spectrum, whose other half is its mirror image. */
  readonly mirrored: boolean;
}

/** The longest signal that is transformed by one matrix, of 4 · length² numbers. */
const longest = 256;

/** Transforms [..., n, parts] forwards, n a number. */
type Part = (x: Value) => Value;

/**
 * x [..., from, parts] → [..., to, partsOut]. `part` transforms the parts of a long signal.
 *
 * Up to 256 elements by one matrix. A longer signal of n = n₁ n₂ elements is transformed in rows of n₁ and then of n₂ (Cooley and Tukey 1965), a
 * prime or unknown number by way of a convolution of another length (Bluestein 1970): memory O(n) instead of O(n²).
 */
export function transformed(x: Value, plan: Plan<Dim>, part: Part): Value {
  const { length } = plan;
  if (typeof length === 'number') return length <= longest ? byMatrix(x, plan) : long(x, plan, part);
  const short = lessOrEqual(size(x, length, [x]), longest);
  return cond(
    short,
    () => [byMatrix(x, plan)],
    () => [long(x, plan, part)],
  )[0]!;
}

// ---- By one matrix --------------------------------------------------------------------------------------------------

function byMatrix(x: Value, plan: Plan<Dim>): Value {
  const leading = x.dims.slice(0, -2);
  const rows = reshape(x, [...leading, mulDims(plan.from, plan.parts)]);
  return reshape(matmul(rows, matrixOf(x, plan)), [...leading, plan.to, plan.partsOut]);
}

/** How much the real and the imaginary part of input row j add to those of output row k. */
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

/** The matrix of the transform: a constant when the sizes are known, else computed when the graph runs. */
function matrixOf(x: Value, plan: Plan<Dim>): Value {
  const { length, from, to, parts, partsOut } = plan;
  const dims = [mulDims(from, parts), mulDims(to, partsOut)];
  if ([length, from, to].every((n) => typeof n === 'number')) {
    const data = matrixOfNumbers(plan as Plan<number>);
    return x.graph.constant(toTensor({ dtype: x.dtype, dims: dims as number[], data }));
  }
  const [real, imaginary] = symbolicFactors(x, plan);
  const first = stacked([real, imaginary].slice(0, partsOut), 2);
  const rows = parts === 1 ? first : stacked([first, stacked([neg(imaginary), real].slice(0, partsOut), 2)], 1);
  return cast(reshape(rows, dims), x.dtype);
}

const stacked = (values: readonly Value[], axis: number): Value =>
  concat(
    values.map((v) => unsqueeze(v, [axis])),
    axis,
  );

// At least float32: the angles go through all of a circle.
const exactly = (x: Value): 'float32' | 'float64' => (x.dtype === 'float64' ? 'float64' : 'float32');

function symbolicFactors(x: Value, { length, from, to, sign, mirrored }: Plan<Dim>): readonly [Value, Value] {
  const dtype = exactly(x);
  const n = size(x, length, [x]);
  const row = unsqueeze(iota(x, from), [1]);
  const turns = mod(mul(row, unsqueeze(iota(x, to), [0])), n);
  const angle = mul(div(cast(turns, dtype), cast(n, dtype)), 2 * Math.PI);
  const single = logicalOr(equal(row, 0), equal(mul(row, 2), n));
  const weight = mirrored ? where(single, x.graph.number(1, dtype), x.graph.number(2, dtype)) : 1;
  const scaled = (v: Value) => (sign > 0 ? div(mul(v, weight), cast(n, dtype)) : v);
  return [scaled(cos(angle)), scaled(sign > 0 ? sin(angle) : neg(sin(angle)))];
}

// ---- In parts -------------------------------------------------------------------------------------------------------

/** All of the spectrum or of the signal, of which the plan may ask for less. Backwards it is conj(forwards(conj(x))) / n. */
function long(x: Value, { length, to, partsOut, sign, mirrored }: Plan<Dim>, part: Part): Value {
  const given = mirrored ? wholeSpectrum(x, length) : x;
  const y = forwards(sign > 0 ? conjugate(given) : given, length, part);
  const whole = sign > 0 ? div(conjugate(y), cast(size(x, length, [x]), x.dtype)) : y;
  const rows = to === length ? whole : slice(whole, { axes: [-2], starts: [0], ends: [to] });
  return partsOut === 2 ? rows : slice(rows, { axes: [-1], starts: [0], ends: [1] });
}

/** Half a spectrum [..., floorDiv(n, 2) + 1, 2] and its mirror image, [..., n, 2]. */
function wholeSpectrum(x: Value, length: Dim): Value {
  const rest = subDims(length, addDims(floorDivDims(length, 2), 1));
  const others = slice(x, { axes: [-2], starts: [1], ends: [addDims(rest, 1)] });
  return concat([x, conjugate(flip(others, -2))], -2);
}

function forwards(x: Value, length: Dim, part: Part): Value {
  const first = typeof length === 'number' ? nearestDivisor(length) : 1;
  return first > 1 ? inTwo(x, [first, (length as number) / first], part) : byConvolution(x, length, part);
}

/** The largest divisor that is not larger than the square root. */
function nearestDivisor(n: number): number {
  let d = Math.floor(Math.sqrt(n));
  while (n % d) d--;
  return d;
}

/**
 * Element j = n₂ j₁ + j₂ goes into k = k₁ + n₁ k₂:
 *
 *     X[k] = Σ_j₂ exp(−2πi j₂ k₁ / n) (Σ_j₁ x[j] exp(−2πi j₁ k₁ / n₁)) exp(−2πi j₂ k₂ / n₂)
 */
function inTwo(x: Value, [n1, n2]: readonly [Dim, Dim], part: Part): Value {
  const leading = x.dims.slice(0, -2);
  const axis = leading.length;
  const swap = (y: Value): Value => transpose(y, [...leading.keys(), axis + 1, axis, axis + 2]);
  const rows = swap(reshape(x, [...leading, n1, n2, x.dims.at(-1)!]));
  const turned = times(alongRows(rows, part), circle(x, mul(unsqueeze(iota(x, n2), [1]), iota(x, n1)), mulDims(n1, n2)));
  return reshape(swap(alongRows(swap(turned), part)), [...leading, mulDims(n1, n2), 2]);
}

/** Short ones by a matrix, more exactly than kernels do; so the unknown number of blocks, of which there are few. */
function alongRows(x: Value, part: Part): Value {
  const [length, parts] = x.dims.slice(-2) as [Dim, number];
  if (typeof length === 'number' && length > longest) return part(x);
  return byMatrix(x, { length, from: length, to: length, parts, partsOut: 2, sign: -1, mirrored: false });
}

/** exp(−2πi t / n) with the parts last. */
function circle(x: Value, t: Value, n: Dim): Value {
  const dtype = exactly(x);
  const angle = mul(div(cast(t, dtype), cast(size(x, n, [x]), dtype)), -2 * Math.PI);
  return cast(stacked([cos(angle), sin(angle)], t.rank), x.dtype);
}

const partsOf = (x: Value): readonly [Value, Value] => {
  const take = (i: number): Value => slice(x, { axes: [-1], starts: [i], ends: [i + 1] });
  return [take(0), take(1)];
};

const conjugate = (x: Value): Value => (x.dims.at(-1) === 1 ? x : mul(x, x.graph.number([1, -1], x.dtype)));

/** The product of complex numbers; one of them may be real. */
function times(x: Value, y: Value): Value {
  if (x.dims.at(-1) === 1 || y.dims.at(-1) === 1) return mul(x, y);
  const [a, b] = partsOf(x);
  const [c, d] = partsOf(y);
  return concat([sub(mul(a, c), mul(b, d)), add(mul(a, d), mul(b, c))], -1);
}

/** Two powers of two whose product is the least one from n on. */
function powersOfTwo(n: number): readonly [number, number] {
  const bits = Math.ceil(Math.log2(n));
  return [2 ** Math.floor(bits / 2), 2 ** Math.ceil(bits / 2)];
}

/** Elements of a signal of unknown length that are transformed at once. */
const block = 128;

/**
 * j k = (j² + k² − (k − j)²) / 2 makes it a convolution with a chirp, of any length from 2n − 1 on:
 *
 *     X[k] = w[k] Σ_j (x[j] w[j]) / w[k − j]      w[j] = exp(−πi j² / n)
 */
function byConvolution(x: Value, n: Dim, part: Part): Value {
  const least = subDims(mulDims(2, n), 1);
  const halves = typeof least === 'number' ? powersOfTwo(least) : ([block, ceilDivDims(least, block)] as const);
  const padded = mulDims(...halves);
  const forwardsTo = (y: Value): Value => inTwo(y, halves, part);
  const twice = mulDims(2, n);
  const chirp = (places: Value): Value => circle(x, mod(mul(places, places), size(x, twice, [x])), twice);
  const w = chirp(iota(x, n));
  // Both ends hold it, as if the places went on around.
  const there = iota(x, padded);
  const place = min(there, sub(size(x, padded, [x]), there));
  const filter = where(unsqueeze(less(place, size(x, n, [x])), [1]), conjugate(chirp(place)), 0);
  const product = times(forwardsTo(padTo(times(x, w), -2, padded)), forwardsTo(filter));
  const convolved = div(conjugate(forwardsTo(conjugate(product))), cast(size(x, padded, [x]), x.dtype));
  return times(slice(convolved, { axes: [-2], starts: [0], ends: [n] }), w);
}
