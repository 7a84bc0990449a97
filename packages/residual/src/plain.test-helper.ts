// Norms and linear maps in plain loops, and small blocks for sub-layers.
import {
  bool,
  defineBlock,
  each,
  int,
  linear,
  module,
  type NDArray,
  type SequenceContext,
  slot,
  type Value,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';

/** Applies a function to each row of the last axis. */
export function perRow(x: NDArray, f: (row: number[], index: number) => readonly number[]): NDArray {
  const rows = rowsOf(x).map(f);
  return { dtype: x.dtype, dims: [...x.dims.slice(0, -1), rows[0]!.length], data: Float64Array.from(rows.flat()) };
}
export function rowsOf(x: NDArray): number[][] {
  const width = x.dims.at(-1)!;
  return Array.from({ length: x.data.length / width }, (_, i) => Array.from(x.data.subarray(i * width, (i + 1) * width)));
}
const mean = (row: readonly number[]) => row.reduce((a, b) => a + b, 0) / row.length;

export function layerNormed(row: readonly number[], weight: NDArray, bias: NDArray | undefined, eps: number): number[] {
  const centre = mean(row);
  const deviation = Math.sqrt(mean(row.map((v) => (v - centre) ** 2)) + eps);
  return row.map((v, i) => ((v - centre) / deviation) * weight.data[i]! + (bias ? bias.data[i]! : 0));
}
export function rmsNormed(row: readonly number[], weight: NDArray, eps: number): number[] {
  const size = Math.sqrt(mean(row.map((v) => v ** 2)) + eps);
  return row.map((v, i) => (v / size) * weight.data[i]!);
}
/** `W row`. */
export const mapRow = (row: readonly number[], weight: NDArray): number[] =>
  Array.from({ length: weight.dims[0]! }, (_, o) => row.reduce((sum, v, i) => sum + weight.data[o * row.length + i]! * v, 0));
export const plus = (a: readonly number[], b: readonly number[], [s, t] = [1, 1]): number[] => a.map((v, i) => s * v + t * b[i]!);
/** The mean of rows, channel by channel. */
export const meanRow = (rows: readonly (readonly number[])[]): number[] =>
  rows[0]!.map((_, i) => mean(rows.map((row) => row[i]!)));

const dims = {
  dim: int({ doc: 'channels in', min: 1, inherit: true }),
  outDim: int({ doc: 'channels out', min: 1, default: (c: { dim: number }) => c.dim }),
};

/** W (x + mean of x, or of the memory, over the sequence). */
export const meanMixer = defineBlock({
  kind: 'mixer',
  name: 'mean_mixer',
  summary: 'For tests.',
  fields: { ...dims, cross: bool({ doc: 'the mean is that of the memory', default: false }) },
  examples: [],
  create({ dim, outDim, cross }) {
    const map = linear(dim, outDim, { bias: false, role: 'value' });
    return module({ map }, (x: Value, ctx: SequenceContext) =>
      map(ops.add(x, ops.reduceMean(cross ? ctx.memory!.hiddenStates : x, [-2]))),
    );
  },
});

/** W x. */
export const rowMap = defineBlock({
  kind: 'feedforward',
  name: 'row_map',
  summary: 'For tests.',
  fields: dims,
  examples: [],
  create({ dim, outDim }) {
    const map = linear(dim, outDim, { bias: false, role: 'hidden' });
    return module({ map }, (x: Value) => map(x));
  },
});

/** W x + b. */
export const biasedMap = defineBlock({
  kind: 'feedforward',
  name: 'biased_map',
  summary: 'For tests.',
  fields: { dim: int({ doc: 'channels', inherit: true }) },
  examples: [],
  create({ dim }) {
    const map = linear(dim, dim);
    return module({ map }, (x: Value) => map(x));
  },
});

/** Two layers, and a norm after them. */
export const twoLayers = defineBlock({
  kind: 'stack',
  name: 'two_layers',
  summary: 'For tests.',
  fields: { layers: each('layer', { doc: 'two' }), norm: slot('norm', { doc: 'norm after them', optional: true }) },
  examples: [],
  create({ layers, norm }) {
    const both = [layers(0), layers(1)];
    return module({ layers: both, norm }, (x: Value, ctx: SequenceContext) => {
      const y = both.reduce((h, layer) => layer(h, ctx), x);
      return norm ? norm(y) : y;
    });
  },
});
