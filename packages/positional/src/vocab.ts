// Token, position and token type embeddings. Devlin et al. 2018, https://arxiv.org/abs/1810.04805
import {
  bool,
  ConfigError,
  defineBlock,
  dropout,
  embedding,
  int,
  limitPositions,
  linear,
  module,
  num,
  realPositionsOf,
  type SequenceContext,
  type Value,
} from '@onnxformers/core';
import { limitIndices, unexpanded } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';

/**
 * Token embeddings, learned position embeddings and, with `typeVocabSize`, token type embeddings (BERT's segments).
 *
 *     y = E[ids] + P[positions + positionOffset] + T[token_type_ids]      with wordDim: W E[ids], W [dim, wordDim]
 *
 * With `padId`, positions are counted over the real ids that are not this one (RoBERTa): a padding id has row positionOffset − 1, which is not a position. Such positions are counted in a whole sequence, so a state is refused.
 *
 * With `countPadding`, positions are places in the rows of a padded batch, whatever the padding mask says; a model that reads padding needs it (SigLIP).
 *
 * Token types are read from the input `token_type_ids`. A model without that input uses type 0 for all tokens.
 *
 * Shapes   ids, token_type_ids int64 [batch, seq], packed [tokens] → [..., dim]; seq ≤ seqLen
 * Dtypes   float32, float16, bfloat16
 * Cost     time and memory O(seq · dim)
 * Throws   ConfigError for padId with a state, or without a positionOffset, and for countPadding with padId or a state · ShapeError for more than seqLen positions; if their number is known only at run time, the runner refuses them · ConfigError for the input
 *          `token_type_ids` without `typeVocabSize`
 * Source   Devlin et al. 2018, https://arxiv.org/abs/1810.04805
 * Lowers   everywhere: Gather, Add
 * Example  const block = vocab({ vocabSize: 101, seqLen: 32, dim: 64 });
 */
export const vocab = defineBlock({
  kind: 'embedding',
  name: 'vocab',
  summary: 'Token embeddings, learned position embeddings and token type embeddings.',
  source: 'Devlin et al. 2018, https://arxiv.org/abs/1810.04805',
  fields: {
    /** number of tokens. Inherited from the enclosing block. */
    vocabSize: int({ doc: 'number of tokens', min: 1, inherit: true }),
    /** longest sequence (positions). Inherited from the enclosing block. */
    seqLen: int({ doc: 'longest sequence', unit: 'positions', min: 1, inherit: true }),
    /** number of token types; absent: no token type embeddings. Optional. */
    typeVocabSize: int({ doc: 'number of token types; absent: no token type embeddings', min: 1, optional: true }),
    /** row of the position table that belongs to position 0; earlier rows are not positions. Default: `0`. */
    positionOffset: int({
      doc: 'row of the position table that belongs to position 0; earlier rows are not positions',
      min: 0,
      default: 0,
    }),
    /** positions are counted over the ids other than this one; absent: those of the context. Optional. */
    padId: int({
      doc: 'positions are counted over the ids other than this one; absent: those of the context',
      min: 0,
      optional: true,
    }),
    /** positions count padding too, instead of real positions only. Default: `false`. */
    countPadding: bool({ doc: 'positions count padding too, instead of real positions only', default: false }),
    /** output channels. Inherited from the enclosing block. */
    dim: int({ doc: 'output channels', unit: 'channels', min: 1, inherit: true }),
    /** channels of the token embeddings; if it differs from dim, a linear map without a bias follows them. Default: computed from other options. */
    wordDim: int({
      doc: 'channels of the token embeddings; if it differs from dim, a linear map without a bias follows them',
      unit: 'channels',
      min: 1,
      default: (c: { dim: number }) => c.dim,
    }),
    /** dropout probability in training. Default: `0`. */
    dropout: num({ doc: 'dropout probability in training', min: 0, max: 0.99, default: 0 }),
  },
  examples: [
    { vocabSize: 23, seqLen: 11, dim: 7 },
    { vocabSize: 23, seqLen: 11, typeVocabSize: 3, dim: 7 },
    { vocabSize: 23, seqLen: 11, positionOffset: 2, padId: 1, dim: 7 },
  ],
  properties: ['batchIndependent', 'causal'],
  create({ vocabSize, seqLen, typeVocabSize, positionOffset, padId, countPadding, dim, wordDim, dropout: p }, { path }) {
    if (countPadding && padId !== undefined)
      throw new ConfigError({
        path: `${path}.countPadding`,
        problem: 'positions cannot count padding and skip the padding id',
        expected: 'countPadding or padId',
        got: 'both',
      });
    if (padId !== undefined && positionOffset === 0)
      throw new ConfigError({
        path: `${path}.positionOffset`,
        problem: 'padding needs a row of its own in the position table',
        expected: 'an integer >= 1 with padId',
        got: '0',
      });
    const word_embeddings = embedding(vocabSize, wordDim, { role: 'embedding', field: `${path}.vocabSize` });
    const word_projection = wordDim === dim ? undefined : linear(wordDim, dim, { bias: false, role: 'projection' });
    const position_embeddings = embedding(positionOffset + seqLen, dim, { role: 'position', field: `${path}.seqLen` });
    const token_type_embeddings =
      typeVocabSize === undefined
        ? undefined
        : embedding(typeVocabSize, dim, { role: 'embedding', field: `${path}.typeVocabSize` });
    const rowsOf = (ids: Value, ctx: SequenceContext): Value => {
      if (padId !== undefined) return ops.sub(countedOver(ids, padId, ctx, { seqLen, path }), 1);
      return countPadding ? places(ids, ctx, { seqLen, path }) : unexpanded(ctx.positions);
    };
    const words = (ids: Value): Value => (word_projection ? word_projection(word_embeddings(ids)) : word_embeddings(ids));
    const record = { word_embeddings, word_projection, position_embeddings, token_type_embeddings };
    return module(record, (ids: Value, ctx: SequenceContext) => {
      const rows = rowsOf(ids, ctx);
      const y = ops.add(words(ids), position_embeddings(ops.add(rows, positionOffset)));
      if (token_type_embeddings) {
        const types = ctx.tokenTypeIds ?? ids.graph.number([0], 'int64');
        return dropout(ops.add(y, token_type_embeddings(types)), p);
      }
      if (ctx.tokenTypeIds)
        throw new ConfigError({
          path: `${path}.typeVocabSize`,
          problem: 'the model has the input token_type_ids and no token type embeddings',
          expected: 'the number of token types',
          got: 'nothing',
          hint: "Set typeVocabSize, omit the input, or declare it with the role 'data'",
        });
      return dropout(y, p);
    });
  },
});

/** The number of each id among those of its sequence that are real and not `padId`, from 1; 0 for a `padId`. */
function countedOver(ids: Value, padId: number, ctx: SequenceContext, { seqLen, path }: { seqLen: number; path: string }): Value {
  // Read from the graph: a model without a padId loads nothing of this.
  const { ops } = ids.graph;
  refuseState(ctx, `${path}.padId`);
  const other = ops.logicalNot(ops.equal(ids, ids.graph.number(padId, ids.dtype)));
  const unpadded = ctx.layout.kind === 'packed' ? undefined : realPositionsOf(ids, ctx);
  const real = ops.cast(unpadded ? ops.logicalAnd(other, unpadded) : other, 'int64');
  const field = `${path}.seqLen`;
  if (ctx.layout.kind !== 'packed') {
    limitPositions(ids.graph.root, ids.dims[1]!, seqLen, field);
    return ops.mul(ops.cumSum(real, 1), real);
  }
  limitIndices(ctx.positions, seqLen, field);
  const counted = ops.cumSum(real, 0);
  const start = ops.sub(ops.iota(ids, ids.dims[0]!), ctx.positions);
  return ops.mul(ops.sub(counted, ops.gather(ops.sub(counted, real), start, 0)), real);
}

/** The place of each id in its row; in a packed batch, where no row has padding, the positions of the context. */
function places(ids: Value, ctx: SequenceContext, { seqLen, path }: { seqLen: number; path: string }): Value {
  refuseState(ctx, `${path}.countPadding`);
  if (ctx.layout.kind === 'packed' || ctx.positionIds) return unexpanded(ctx.positions);
  const { iota, unsqueeze } = ids.graph.ops;
  limitPositions(ids.graph.root, ids.dims[1]!, seqLen, `${path}.seqLen`);
  return unsqueeze(iota(ids, ids.dims[1]!), [0]);
}

function refuseState(ctx: SequenceContext, path: string): void {
  if (!ctx.state) return;
  throw new ConfigError({
    path,
    problem: 'positions that are counted in this way need the whole sequence',
    expected: 'no state, or without this option',
    got: 'a state',
  });
}
