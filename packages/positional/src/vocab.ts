// Token, position and token type embeddings. Devlin et al. 2018, https://arxiv.org/abs/1810.04805
import {
  ConfigError,
  defineBlock,
  dropout,
  embedding,
  int,
  module,
  num,
  type SequenceContext,
  type Value,
} from '@onnxformers/core';
import { unexpanded } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';

/**
 * Token embeddings, learned position embeddings and, with `typeVocabSize`, token type embeddings (BERT's segments).
 *
 *     y = E[ids] + P[positions] + T[token_type_ids]
 *
 * Token types are read from the input `token_type_ids`. A model without that input uses type 0 for all tokens.
 *
 * Shapes   ids, token_type_ids int64 [batch, seq], packed [tokens] → [..., dim]; seq ≤ seqLen
 * Dtypes   float32, float16, bfloat16
 * Throws   ShapeError for more than seqLen positions; if their number is known only at run time, the runner refuses them · ConfigError for the input
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
    /** output channels. Inherited from the enclosing block. */
    dim: int({ doc: 'output channels', unit: 'channels', min: 1, inherit: true }),
    /** dropout probability in training. Default: `0`. */
    dropout: num({ doc: 'dropout probability in training', min: 0, max: 0.99, default: 0 }),
  },
  examples: [
    { vocabSize: 23, seqLen: 11, dim: 7 },
    { vocabSize: 23, seqLen: 11, typeVocabSize: 3, dim: 7 },
  ],
  properties: ['batchIndependent', 'causal'],
  create({ vocabSize, seqLen, typeVocabSize, dim, dropout: p }, { path }) {
    const word_embeddings = embedding(vocabSize, dim, { role: 'embedding', field: `${path}.vocabSize` });
    const position_embeddings = embedding(seqLen, dim, { role: 'position', field: `${path}.seqLen` });
    const token_type_embeddings =
      typeVocabSize === undefined
        ? undefined
        : embedding(typeVocabSize, dim, { role: 'embedding', field: `${path}.typeVocabSize` });
    const record = { word_embeddings, position_embeddings, token_type_embeddings };
    return module(record, (ids: Value, ctx: SequenceContext) => {
      const y = ops.add(word_embeddings(ids), position_embeddings(unexpanded(ctx.positions)));
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
