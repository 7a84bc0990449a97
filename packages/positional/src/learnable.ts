// Learned position embeddings. Gehring et al. 2017, https://arxiv.org/abs/1705.03122
import {
  bool,
  ConfigError,
  defineBlock,
  init,
  int,
  module,
  Parameter,
  prefixed,
  type SequenceContext,
  type Value,
} from '@onnxformers/core';
import { limitIndices, unexpanded } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';

/**
 * Adds a learned embedding for each position; with `classToken`, first puts a learned class token before each sequence.
 *
 *     y = x + P[positions + positionOffset]          y = [c + P[0]; x + P[1 + positions]]
 *
 * A class token extends the masks, lengths and positions of the model's layers by one.
 *
 * Shapes   x [batch, seq, dim], packed [tokens, dim] → the same, or [batch, seq + 1, dim], packed [tokens + batch, dim], with a class token; seq ≤ seqLen
 * Dtypes   float32, float16, bfloat16
 * Throws   ConfigError for a class token with a state or with a positionOffset · ShapeError for more than seqLen positions; if their number is known only at run
 *          time, the runner refuses them
 * Source   Gehring et al. 2017, https://arxiv.org/abs/1705.03122; class token: Dosovitskiy et al. 2020, https://arxiv.org/abs/2010.11929
 * Lowers   everywhere: Gather, Add
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
  },
  examples: [
    { seqLen: 11, dim: 7 },
    { seqLen: 5, dim: 3, classToken: true },
    { seqLen: 7, dim: 3, positionOffset: 2 },
  ],
  properties: ({ classToken }) => (classToken ? ['batchIndependent'] : ['batchIndependent', 'causal']),
  create({ seqLen, dim, positionOffset, classToken }, { path }) {
    if (classToken && positionOffset)
      throw new ConfigError({
        path: `${path}.positionOffset`,
        problem: 'the class token has the row before the positions',
        expected: '0 with classToken',
        got: String(positionOffset),
      });
    const before = classToken ? 1 : positionOffset;
    const rows = before + seqLen;
    const pos_emb = new Parameter([1, rows, dim], init.normal(0.02), { role: 'position', part: 'other' });
    const class_token = classToken ? new Parameter([dim], init.zeros, { role: 'position', part: 'other' }) : undefined;
    return module({ pos_emb, class_token }, (x: Value, ctx: SequenceContext) => {
      const table = ops.reshape(x.graph.param(pos_emb), [rows, dim]);
      const positions = unexpanded(ctx.positions);
      limitIndices(positions, seqLen, `${path}.seqLen`);
      const own = ops.add(x, ops.gather(table, ops.add(positions, before), 0));
      if (!class_token) return own;
      const first = ops.add(x.graph.param(class_token), x.graph.ops.slice(table, { axes: [0], starts: [0], ends: [1] }));
      return prefixed(own, first, ctx);
    });
  },
});
