// Random numbers of mechanisms: the same in every run from a seed, or drawn in each run.
import type { Dim, Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';

/** Where a mechanism's random numbers come from. */
export interface Chance {
  readonly seed: number;
  /** A draw in each run instead of the seed. */
  readonly redraw: boolean;
}

/**
 * Uniform numbers in [0, 1), float32.
 *
 * @param which the number of this use: uses of one mechanism differ by it
 */
export function numbers(near: Value, name: string, which: number, dims: readonly Dim[], { seed, redraw }: Chance): Value {
  const g = near.graph.root;
  if (redraw) return g.draw(name, dims, 'uniform');
  const words = [((seed % 2 ** 32) + which) % 2 ** 32, Math.floor(seed / 2 ** 32)] as const;
  return ops.noise(g.number(0, 'int64'), words, dims, 'uniform');
}

/** Uniform numbers as indices from 0 to `count` − 1. */
export const indicesOf = (uniform: Value, count: Dim): Value => {
  const size = ops.size(uniform, count);
  return ops.min(ops.cast(ops.mul(uniform, ops.cast(size, 'float32')), 'int64'), ops.sub(size, 1));
};
