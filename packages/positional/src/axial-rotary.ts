// Rotary position embedding of two axes: rows and columns of an image. Heo et al. 2024, https://arxiv.org/abs/2403.13298
import {
  addDims,
  bool,
  ConfigError,
  cellsOf,
  type Dim,
  defineBlock,
  int,
  list,
  mulDims,
  num,
  type SequenceContext,
  ShapeError,
  type Value,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { kernels } from './kernels/rotary-embedding';
import { tablesFor } from './rotary-tables';

/**
 * Axial rotary position embedding: positions are the cells of an image, row by row. Half of the pairs of channels are rotated by the row, the other half by the column.
 *
 *     (x₁, x₂) → (x₁ cos a − x₂ sin a, x₂ cos a + x₁ sin a)      a = row · θᵢ for pair i < n, column · θᵢ₋ₙ for the others
 *     θᵢ = theta^(−i/n)      n = dim / 4
 *
 * Rows and columns are those of the option `grid`, otherwise of the patch embedding before the layers. Class tokens and registers before the cells are not rotated.
 *
 * Shapes   q [batch, heads, seq, head_dim], k [batch, kv_heads, seq, head_dim] → the same; seq = prefixTokens + rows · columns
 * Dtypes   float32, float16, bfloat16; angles in float32
 * Masks    none
 * Cost     time O(seq · heads · headDim), memory O(seq · headDim) for sines and cosines
 * Throws   ConfigError when dim is not a multiple of 4 · ShapeError for a packed batch, and where rows and columns are not known or do not fit the number of positions
 * Source   Heo et al. 2024, https://arxiv.org/abs/2403.13298; Fang et al. 2023, https://arxiv.org/abs/2303.11331
 * Lowers   everywhere: RotaryEmbedding; portable below opset 23: primitives
 * Example  const block = axialRotary({ dim: 64, grid: [14, 14], prefixTokens: 1 });
 */
export const axialRotary = defineBlock({
  kind: 'rotaryEmbedding',
  name: 'axial_rotary',
  summary: 'Rotates half of the pairs of channels by the row in an image, the others by the column.',
  source: 'Heo et al. 2024, https://arxiv.org/abs/2403.13298',
  rules: kernels,
  masks: [],
  fields: {
    /** channels of a head. Inherited from the enclosing block. */
    dim: int({ doc: 'channels of a head', unit: 'channels', min: 4, max: 65_536, inherit: true }),
    /** base of the rotary frequencies. Default: `10000`. */
    theta: num({ doc: 'base of the rotary frequencies', min: 1, default: 10_000 }),
    /** channels 2i and 2i + 1 form a pair, instead of i and i + dim / 2. Default: `false`. */
    interleaved: bool({ doc: 'channels 2i and 2i + 1 form a pair, instead of i and i + dim / 2', default: false }),
    /** [rows, columns] of the image, if no patch embedding sets them. Optional. */
    grid: list(int({ doc: 'rows or columns', unit: 'positions', min: 1 }), {
      doc: '[rows, columns] of the image, if no patch embedding sets them',
      length: 2,
      optional: true,
    }),
    /** positions before the cells, which are not rotated. Default: `0`. */
    prefixTokens: int({ doc: 'positions before the cells, which are not rotated', unit: 'positions', min: 0, default: 0 }),
  },
  inputs: (m) => {
    const { dim, prefixTokens } = m.about.config as { readonly dim: number; readonly prefixTokens: number };
    const cells = cellsOf(m);
    const seq = cells === 'seq' ? cells : prefixTokens + cells;
    const heads = (count: Dim) => ({ dtype: 'float32', dims: ['batch', count, seq, dim] }) as const;
    return { q: heads('heads'), k: heads('kv_heads') };
  },
  examples: [
    { dim: 8, grid: [3, 5] },
    { dim: 12, theta: 100, interleaved: true, grid: [5, 2], prefixTokens: 3 },
  ],
  properties: ['batchIndependent'],
  create({ dim, theta, interleaved, grid, prefixTokens }, { path }) {
    if (dim % 4)
      throw new ConfigError({
        path: `${path}.dim`,
        problem: 'the pairs of channels cannot be divided between rows and columns',
        expected: 'a multiple of 4',
        got: String(dim),
      });
    const n = dim / 4;
    const rates = Array.from({ length: n }, (_, i) => theta ** (-i / n));
    return (q: Value, k: Value, ctx: SequenceContext) => {
      const turn = (x: Value): Value => {
        const cells = (grid as readonly [number, number] | undefined) ?? ctx.grid;
        const [batch, , seq] = x.dims as [Dim, Dim, Dim];
        if (!cells || ctx.layout.kind === 'packed' || addDims(prefixTokens, mulDims(...cells)) !== seq)
          throw new ShapeError({
            path: `${path}.grid`,
            problem: cells
              ? 'the positions are not prefixTokens and the cells of one image'
              : 'the rows and columns are not known',
            expected: cells
              ? `${prefixTokens} + ${cells.join(' · ')} positions`
              : 'a grid, or a patch embedding before the layers',
            got: ctx.layout.kind === 'packed' ? 'packed sequences' : `${seq} positions`,
          });
        const key = `axial rotary ${rates.join()} of ${cells.join()} after ${prefixTokens} for ${batch}`;
        const { cosines, sines } = tablesFor(x, ctx, { key, rows: [batch, seq] }, () => ({
          angles: anglesOf(x, cells, rates, prefixTokens),
        }));
        return ops.rotaryEmbedding(x, cosines, sines, undefined, interleaved ? { interleaved } : {});
      };
      return [turn(q), turn(k)] as const;
    };
  },
});

/** Angles [1, prefix + rows · columns, pairs]: those of the row, then those of the column. */
function anglesOf(x: Value, [rows, columns]: readonly [Dim, Dim], rates: readonly number[], prefix: number): Value {
  const g = x.graph.root;
  const along = (count: Dim, dims: readonly Dim[]): Value =>
    ops.expand(ops.mul(ops.reshape(ops.iota(g, count, 'float32'), [...dims, 1]), g.number(rates, 'float32')), [
      rows,
      columns,
      rates.length,
    ]);
  const both = ops.concat([along(rows, [rows, 1]), along(columns, [1, columns])], 2);
  const cells = ops.reshape(both, [1, mulDims(rows, columns), 2 * rates.length]);
  return prefix ? g.ops.pad(cells, { axes: [1], before: [prefix], after: [0] }) : cells;
}
