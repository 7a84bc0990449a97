// A table of the cells of an image, for an image of another size.
import { type Dim, mulDims, type Value } from '@onnxformers/core';

/** The kernel's parameter: the slope of its tails. */
const a = -0.75;

/**
 * Bicubic interpolation with half-pixel centres and without antialiasing; cells beyond the edge are those at the edge.
 *
 *     y[i] = Σ_k w(k − t) x[clamp(⌊s⌋ + k)]      s = (i + ½) · from / to − ½, t = s − ⌊s⌋, k = −1 … 2, along rows and columns
 *
 * Shapes   table [rows · columns, dim] → [rows′ · columns′, dim]
 * Source   Keys 1981, Cubic convolution interpolation for digital image processing
 */
export function resizedBicubically(table: Value, from: readonly [number, number], to: readonly [Dim, Dim]): Value {
  if (from[0] === to[0] && from[1] === to[1]) return table;
  // Read from the graph: positions without a grid load nothing of this.
  const { ops } = table.graph;
  const dim = table.dims[1]!;
  const image = ops.cast(ops.reshape(table, [...from, dim]), 'float32');
  const resized = along(along(image, 0, from[0], to[0]), 1, from[1], to[1]);
  return ops.cast(ops.reshape(resized, [mulDims(...to), dim]), table.dtype);
}

function along(image: Value, axis: 0 | 1, from: number, to: Dim): Value {
  if (from === to) return image;
  const { ops } = image.graph;
  const float = (v: Value): Value => ops.cast(v, 'float32');
  const centre = ops.add(float(ops.iota(image, to)), 0.5);
  const source = ops.sub(ops.mul(centre, ops.div(from, float(ops.size(image, to)))), 0.5);
  const below = ops.floor(source);
  const t = ops.sub(source, below);
  // Weights at a distance d of at most 1, and of 1 to 2.
  const near = (d: Value): Value => ops.add(ops.mul(ops.mul(d, d), ops.sub(ops.mul(d, a + 2), a + 3)), 1);
  const far = (d: Value): Value => ops.mul(ops.sub(ops.mul(ops.add(ops.mul(ops.sub(d, 5), d), 8), d), 4), a);
  const weights = [far(ops.add(t, 1)), near(t), near(ops.sub(1, t)), far(ops.sub(2, t))];
  const taps = weights.map((weight, k) => {
    const cell = ops.cast(ops.min(ops.max(ops.add(below, k - 1), 0), from - 1), 'int64');
    return ops.mul(ops.gather(image, cell, axis), ops.reshape(weight, axis ? [1, to, 1] : [to, 1, 1]));
  });
  return taps.reduce((x, y) => ops.add(x, y));
}
