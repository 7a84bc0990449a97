// Learned position embeddings. Gehring et al. 2017, https://arxiv.org/abs/1705.03122
import {
  asImage,
  bool,
  ConfigError,
  type Dim,
  defineBlock,
  init,
  int,
  list,
  module,
  Parameter,
  prefixed,
  type SequenceContext,
  type Value,
} from '@onnxformers/core';
import { limitIndices, unexpanded } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';
import { resizedBicubically } from './resized';

/**
 * Adds a learned embedding for each position; with `classToken`, first puts a learned class token before each sequence.
 *
 *     y = x + P[positions + positionOffset]          y = [c + P[0]; x + P[1 + positions]]
 *
 * A class token extends the masks, lengths and positions of the model's layers by one. With `distillationToken`, a second learned token with a row of its own follows
 * it, and extends them by one more (DeiT).
 *
 * With `grid`, the positions are the patches of an image, and P[…] is the table of that grid resized bicubically to the rows and columns of the patches
 * (half-pixel centres, a = −0.75, no antialiasing). So images of any size are accepted (DINOv2).
 *
 *
 * Shapes   x [batch, seq, dim], packed [tokens, dim] → the same, or [batch, seq + 1, dim], packed [tokens + batch, dim], with a class token,
 *          or [batch, seq + 2, dim], packed [tokens + 2 · batch, dim], with a distillation token too; seq ≤ seqLen, or any with a grid
 * Dtypes   float32, float16, bfloat16
 * Cost     time and memory O(seq · dim)
 * Throws   ConfigError for a class token with a state or with a positionOffset, for a distillation token without a class token, and for a grid of other than seqLen
 *          cells · ShapeError with a grid where the rows and columns of the patches are not known or do not fit the number of positions · ShapeError for more than seqLen positions; if their number is known only at run
 *          time, the runner refuses them
 * Source   Gehring et al. 2017, https://arxiv.org/abs/1705.03122; class token: Dosovitskiy et al. 2020, https://arxiv.org/abs/2010.11929;
 *          distillation token: Touvron et al. 2020, https://arxiv.org/abs/2012.12877; grid: Oquab et al. 2023, https://arxiv.org/abs/2304.07193
 * Lowers   everywhere: Gather, Add; with a grid also the products and sums of the interpolation, if rows or columns differ or are not known
 * Example  const block = learnable({ seqLen: 32, dim: 64 });
 */
export const learnable = defineBlock({
  kind: 'position',
  name: 'learnable',
  summary: 'Adds a learned embedding for each position.',
  source: 'Gehring et al. 2017, https://arxiv.org/abs/1705.03122',
  fields: {
    /** longest sequence, without the class token (positions). Inherited from the enclosing block. */
    seqLen: int({ doc: 'longest sequence, without the class token', unit: 'positions', min: 1, inherit: true }),
    /** channels. Inherited from the enclosing block. */
    dim: int({ doc: 'channels', unit: 'channels', min: 1, inherit: true }),
    /** row of the table that belongs to position 0; earlier rows are not positions. Default: `0`. */
    positionOffset: int({
      doc: 'row of the table that belongs to position 0; earlier rows are not positions',
      min: 0,
      default: 0,
    }),
    /** a learned class token is put before every sequence. Default: `false`. */
    classToken: bool({ doc: 'a learned class token is put before every sequence', default: false }),
    /** a second learned token is put after the class token. Default: `false`. */
    distillationToken: bool({ doc: 'a second learned token is put after the class token', default: false }),
    /** [rows, columns] of patches that the table is for; for others it is resized; absent: the table is used as it is. Optional. */
    grid: list(int({ doc: 'rows or columns', unit: 'positions', min: 1 }), {
      doc: '[rows, columns] of patches that the table is for; for others it is resized; absent: the table is used as it is',
      length: 2,
      optional: true,
    }),
  },
  examples: [
    { seqLen: 11, dim: 7 },
    { seqLen: 5, dim: 3, classToken: true },
    { seqLen: 7, dim: 3, positionOffset: 2 },
    { seqLen: 5, dim: 3, classToken: true, distillationToken: true },
  ],
  properties: ({ classToken }) => (classToken ? ['batchIndependent'] : ['batchIndependent', 'causal']),
  create({ seqLen, dim, positionOffset, classToken, distillationToken, grid }, { path }) {
    if (classToken && positionOffset)
      throw new ConfigError({
        path: `${path}.positionOffset`,
        problem: 'the class token has the row before the positions',
        expected: '0 with classToken',
        got: String(positionOffset),
      });
    if (distillationToken && !classToken)
      throw new ConfigError({
        path: `${path}.distillationToken`,
        problem: 'the distillation token follows the class token',
        expected: 'classToken: true, or no distillation token',
        got: 'classToken: false',
      });
    if (grid && grid[0]! * grid[1]! !== seqLen)
      throw new ConfigError({
        path: `${path}.grid`,
        problem: 'the table does not have the cells of the grid',
        expected: `rows · columns = seqLen = ${seqLen}`,
        got: `${grid[0]} · ${grid[1]}`,
      });
    const tokens = Number(classToken) + Number(distillationToken);
    const before = classToken ? tokens : positionOffset;
    const rows = before + seqLen;
    const pos_emb = new Parameter([1, rows, dim], init.normal(0.02), { role: 'position', part: 'other' });
    const class_token = classToken ? new Parameter([dim], init.zeros, { role: 'position', part: 'other' }) : undefined;
    const distillation_token = distillationToken
      ? new Parameter([dim], init.zeros, { role: 'position', part: 'other' })
      : undefined;
    return module({ pos_emb, class_token, distillation_token }, (x: Value, ctx: SequenceContext) => {
      const table = ops.reshape(x.graph.param(pos_emb), [rows, dim]);
      const own = ops.add(x, grid ? ofPatches(table) : ofPositions(table));
      const learned = [class_token, distillation_token].flatMap((p) => (p ? [x.graph.ops.unsqueeze(x.graph.param(p), [0])] : []));
      if (!learned.length) return own;
      const rowsOfTokens = x.graph.ops.slice(table, { axes: [0], starts: [0], ends: [tokens] });
      return prefixed(own, ops.add(learned.length > 1 ? x.graph.ops.concat(learned, 0) : learned[0]!, rowsOfTokens), ctx);

      function ofPositions(all: Value): Value {
        const positions = unexpanded(ctx.positions);
        limitIndices(positions, seqLen, `${path}.seqLen`);
        return ops.gather(all, ops.add(positions, before), 0);
      }
      function ofPatches(all: Value): Value {
        const image = asImage(x, ctx, { path: `${path}.grid` });
        const own = x.graph.ops.slice(all, { axes: [0], starts: [before], ends: [rows] });
        return resizedBicubically(own, grid as readonly [number, number], image.dims.slice(1, 3) as [Dim, Dim]);
      }
    });
  },
});
