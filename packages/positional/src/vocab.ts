// A row for each token and one for each position. Devlin et al. 2018, https://arxiv.org/abs/1810.04805
import { defineBlock, dropout, embedding, int, module, num, type SequenceContext, type Value } from '@onnxformers/core';
import { unexpanded } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';

/**
 * A row for each id, and a learned row for each position.
 *
 *     y = E[ids] + P[positions]
 *
 * Shapes   ids int64 [batch, seq], packed [tokens] → [..., dim]; seq ≤ seqLen
 * Dtypes   float32, float16, bfloat16
 * Throws   ShapeError when more than seqLen positions are asked for; at run time the runner refuses them
 * Source   Devlin et al. 2018, https://arxiv.org/abs/1810.04805
 * Lowers   everywhere: Gather, Gather, Add
 * Example  const block = vocab({ vocabSize: 101, seqLen: 32, dim: 64 });
 */
export const vocab = defineBlock({
  kind: 'embedding',
  name: 'vocab',
  summary: 'A row for each id, and a learned row for each position.',
  source: 'Devlin et al. 2018, https://arxiv.org/abs/1810.04805',
  fields: {
    /** number of tokens. Inherited from the block around. */
    vocabSize: int({ doc: 'number of tokens', min: 1, inherit: true }),
    /** longest sequence (positions). Inherited from the block around. */
    seqLen: int({ doc: 'longest sequence', unit: 'positions', min: 1, inherit: true }),
    /** channels out. Inherited from the block around. */
    dim: int({ doc: 'channels out', unit: 'channels', min: 1, inherit: true }),
    /** probability of dropping a channel, in training. Default: `0`. */
    dropout: num({ doc: 'probability of dropping a channel, in training', min: 0, max: 0.99, default: 0 }),
  },
  examples: [{ vocabSize: 23, seqLen: 11, dim: 7 }],
  properties: ['batchIndependent', 'causal'],
  create({ vocabSize, seqLen, dim, dropout: p }, { path }) {
    const word_embeddings = embedding(vocabSize, dim, { role: 'embedding', field: `${path}.vocabSize` });
    const position_embeddings = embedding(seqLen, dim, { role: 'position', field: `${path}.seqLen` });
    return module({ word_embeddings, position_embeddings }, (ids: Value, ctx: SequenceContext) => {
      return dropout(ops.add(word_embeddings(ids), position_embeddings(unexpanded(ctx.positions))), p);
    });
  },
});
