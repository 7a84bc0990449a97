// Random features of the exponential of a product. Choromanski et al. 2020, https://arxiv.org/abs/2009.14794

import { randomStream, type Tensor, tensor, type Value } from '@onnxformers/core';
import { anObject, aSize, given } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';

/** Feature maps: exp of products with random directions; with both signs; with both signs and directions of one length. */
export const featureMaps = ['orthogonal', 'hyperbolic', 'regularized'] as const;
/** One of `featureMaps`. */
export type FeatureMap = (typeof featureMaps)[number];

/** The size of random features. */
export interface FeatureOptions {
  readonly map: FeatureMap;
  readonly headDim: number;
  /** Number of features. */
  readonly features: number;
}

/** Number of random directions: maps with both signs make two features of each. */
export const directionsOf = ({ map, features }: FeatureOptions): number => (map === 'orthogonal' ? features : features / 2);

/**
 * Random directions from a seed, [headDim, directions]: in blocks of headDim they are orthogonal to each other. Their lengths are those of normal vectors, or √headDim
 * for the map `regularized`.
 */
export function randomDirections(o: FeatureOptions, seed: number): Tensor {
  given('randomDirections', { options: o }, { options: anObject });
  given(
    'randomDirections',
    { 'options.headDim': o.headDim, 'options.features': o.features },
    { 'options.headDim': aSize, 'options.features': aSize },
  );
  const { headDim, map } = o;
  const count = directionsOf(o);
  const stream = randomStream(seed, 'random features');
  // The sum of twelve uniform numbers has a variance of 1, and is close to normal.
  const normal = (): number => {
    const twelve = new Float64Array(12);
    stream.uniform(twelve);
    return twelve.reduce((a, b) => a + b) - 6;
  };
  const rows: number[][] = [];
  for (let i = 0; i < count; i++) {
    const given = Array.from({ length: headDim }, normal);
    const others = rows.slice(i - (i % headDim));
    // Twice, since the first time leaves a rest of rounding errors.
    const own = [0, 1].reduce((x) => others.reduce(without, x), given);
    const length = map === 'regularized' ? Math.sqrt(headDim) : Math.hypot(...given);
    rows.push(own.map((x) => (x * length) / Math.hypot(...own)));
  }
  const data = Float32Array.from({ length: headDim * count }, (_, at) => rows[at % count]![Math.floor(at / count)]!);
  return tensor('float32', [headDim, count], data);
}

function without(x: readonly number[], other: readonly number[]): number[] {
  const share = x.reduce((sum, v, i) => sum + v * other[i]!, 0) / other.reduce((sum, v) => sum + v * v, 0);
  return x.map((v, i) => v - share * other[i]!);
}

/**
 * Other random directions for each run number, computed in the graph.
 *
 * Shapes   run int64 [] → float32 [headDim, directions]
 */
export function directionsOfRun(run: Value, o: FeatureOptions, seed: number): Value {
  given('directionsOfRun', { run, options: o }, { options: anObject });
  const { headDim, map } = o;
  const count = directionsOf(o);
  const blocks = Math.ceil(count / headDim);
  const normals = ops.noise(run, [seed % 2 ** 32, Math.floor(seed / 2 ** 32)], [blocks, headDim, headDim], 'normal');
  const places = ops.reshape(ops.iota(run.graph.root, headDim), [1, headDim, 1]);
  const body = (step: Value, units?: Value) => {
    const row = ops.gather(normals, ops.reshape(step, [1]), 1);
    const remove = (x: Value): Value => ops.sub(x, ops.matmul(ops.matmul(x, ops.swapLast(units!)), units!));
    const own = remove(remove(row));
    const unit = ops.div(own, ops.reduceL2(own, [2]));
    return { carried: [ops.where(ops.equal(places, step), unit, units!)] };
  };
  const start = ops.mul(normals, 0);
  const trips = run.graph.root.number(headDim, 'int64');
  const [units] = ops.loop(run.graph.root, { trips, count: headDim, carried: [start], body }).carried as [Value];
  const long = map === 'regularized' ? ops.mul(units, Math.sqrt(headDim)) : ops.mul(units, ops.reduceL2(normals, [2]));
  return ops.transpose(ops.cropTo(ops.reshape(long, [blocks * headDim, headDim]), 0, count), [1, 0]);
}

/** The logarithm of random features in two terms: log φ(x) = products − norm. */
export interface LogFeatures {
  /** w · x / dim^¼ for each direction w, and for −w; [..., features] */
  readonly products: Value;
  /** |x|² / (2 √dim); [..., 1] */
  readonly norm: Value;
}

/**
 * The logarithms of random features whose products estimate exp(q · k / √dim), up to one factor. The terms are separate because the second is the same for all features:
 * what else is subtracted from all of them is added to it first, which saves a pass over the features.
 *
 * Shapes   x [..., dim] → products [..., features], norm [..., 1]
 */
export function logFeatures(x: Value, directions: Value, map: FeatureMap): LogFeatures {
  const dim = x.dims.at(-1) as number;
  const scaled = ops.mul(x, dim ** -0.25);
  const signed = map === 'orthogonal' ? directions : ops.concat([directions, ops.neg(directions)], 1);
  return { products: ops.matmul(scaled, signed), norm: ops.mul(ops.reduceSumSquare(scaled, [-1]), 0.5) };
}

/**
 * Random features whose products estimate exp(q · k / √dim).
 *
 *     φ(x) = exp(log φ(x)) / √features      normalized: divided by exp(max |x|² / √dim) over all positions, which cancels in an attention
 *
 * Shapes   x [batch, seq, dim], directions [dim, directions] → [batch, seq, features]
 * Throws   ShapeError where the dims do not fit
 * Source   Choromanski et al. 2020, https://arxiv.org/abs/2009.14794
 * Lowers   everywhere: MatMul, Exp
 */
export function randomFeatures(x: Value, directions: Value, map: FeatureMap, normalized = false): Value {
  given('randomFeatures', { x, directions });
  const { products, norm } = logFeatures(x, directions, map);
  const features = products.dims.at(-1) as number;
  const largest = (): Value => ops.reduceMax(ops.mul(ops.reduceSumSquare(x, [-1]), (x.dims.at(-1) as number) ** -0.5), [-2]);
  return ops.div(ops.exp(ops.sub(products, normalized ? ops.add(norm, largest()) : norm)), Math.sqrt(features));
}
