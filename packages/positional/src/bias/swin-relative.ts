// A learned bias for each offset in a window of an image. Liu et al. 2021, https://arxiv.org/abs/2103.14030
import {
  bool,
  type Dim,
  defineBlock,
  init,
  int,
  list,
  module,
  Parameter,
  type SequenceContext,
  ShapeError,
  tensor,
  type Value,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';

/**
 * Swin's relative position bias: the positions are the cells of a window, row by row, and each offset between two cells has a learned bias for each head.
 *
 *     bias[h, i, j] = table[(row_i − row_j + rows − 1) · (2 · columns − 1) + column_i − column_j + columns − 1, h]
 *
 * With a class token before the cells, as in BEiT, the table has three more rows: class to cell, cell to class, class to class.
 *
 * Shapes   q [batch, heads, seq, head_dim] · k [batch, kv_heads, seq, head_dim] → [batch, heads, seq, seq]; seq = rows · columns, one more with a
 *          class token; batch is 1
 * Dtypes   float32, float16, bfloat16
 * Cost     memory O(heads · seq²), once for all windows
 * Throws   ShapeError for a packed batch, and for another number of queries or keys
 * Source   Liu et al. 2021, https://arxiv.org/abs/2103.14030; class token: Bao et al. 2021, https://arxiv.org/abs/2106.08254
 * Lowers   everywhere: nothing, a constant is made of the table when the file is written; the attention bias excludes kernels without one
 * Example  const block = swinRelative({ heads: 3, window: [7, 7] });
 */
export const swinRelative = defineBlock({
  kind: 'attentionBias',
  name: 'swin_relative',
  summary: 'A learned bias for each head and offset in a window of an image.',
  source: 'Liu et al. 2021, https://arxiv.org/abs/2103.14030',
  fields: {
    /** heads of the queries. Inherited from the enclosing block. */
    heads: int({ doc: 'heads of the queries', min: 1, inherit: true }),
    /** [rows, columns] of the window (positions). */
    window: list(int({ doc: 'rows or columns', unit: 'positions', min: 1, max: 32 }), {
      doc: '[rows, columns] of the window',
      unit: 'positions',
      length: 2,
    }),
    /** a class token is before the cells. Default: `false`. */
    classToken: bool({ doc: 'a class token is before the cells', default: false }),
  },
  inputs: ({ about: { config } }) => {
    const { heads, window, classToken } = config as {
      readonly heads: number;
      readonly window: readonly [number, number];
      readonly classToken: boolean;
    };
    const seq = window[0] * window[1] + Number(classToken);
    const rows = (count: Dim) => ({ dtype: 'float32', dims: ['batch', count, seq, 'head_dim'] }) as const;
    return { q: rows(heads), k: rows('kv_heads') };
  },
  examples: [
    { heads: 3, window: [2, 5] },
    { heads: 2, window: [3, 2], classToken: true },
  ],
  properties: ['deterministic'],
  create({ heads, window, classToken }, { path }) {
    const index = offsets(window as readonly [number, number], classToken);
    const seq = Math.sqrt(index.length);
    const weight = new Parameter([Math.max(...index) + 1, heads], init.truncatedNormal(0.02), {
      role: 'position',
      part: 'weight',
    });
    return module({ relative_position_bias_table: weight }, (q: Value, k: Value, ctx: SequenceContext) => {
      if (ctx.layout.kind === 'packed' || q.dims[2] !== seq || k.dims[2] !== seq)
        throw new ShapeError({
          path: `${path}.window`,
          problem: 'queries and keys are not the cells of the window',
          expected: `${seq} queries and keys`,
          got: ctx.layout.kind === 'packed' ? 'packed sequences' : `${q.dims[2]} queries and ${k.dims[2]} keys`,
        });
      const g = q.graph.root;
      const rows = ops.gather(g.param(weight), g.constant(tensor('int64', [seq, seq], index)), 0);
      return ops.unsqueeze(ops.transpose(rows, [2, 0, 1]), [0]);
    });
  },
});

/** The row of the table for each pair of positions. */
function offsets([rows, columns]: readonly [number, number], classToken: boolean): number[] {
  const cells = Array.from({ length: rows * columns }, (_, i) => [Math.floor(i / columns), i % columns] as const);
  const between = ([r, c]: readonly [number, number], [s, d]: readonly [number, number]): number =>
    (r - s + rows - 1) * (2 * columns - 1) + c - d + columns - 1;
  const inside = cells.map((i) => cells.map((j) => between(i, j)));
  if (!classToken) return inside.flat();
  const [toCell, toClass, itself] = [0, 1, 2].map((i) => (2 * rows - 1) * (2 * columns - 1) + i) as [number, number, number];
  return [itself, ...cells.map(() => toCell), ...inside.flatMap((row) => [toClass, ...row])];
}
