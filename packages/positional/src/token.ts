// Token embedding. Bengio et al. 2003, A Neural Probabilistic Language Model
import { defineBlock, init, int, module, num, Parameter, type Value } from '@onnxformers/core';
import { limitIndices } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';

/**
 * Token embedding: a row of a table for each id.
 *
 *     y = scale · E[ids]
 *
 * Shapes   ids int64 [batch, seq], packed [tokens] → [..., dim]
 * Dtypes   float32, float16, bfloat16
 * Cost     time and memory O(seq · dim)
 * Throws   FeedError (in a run) for an input with ids outside 0 … vocabSize − 1
 * Source   Bengio et al. 2003, A Neural Probabilistic Language Model
 * Lowers   everywhere: Gather
 * Example  const block = token({ vocabSize: 101, dim: 64 });
 */
export const token = defineBlock({
  kind: 'embedding',
  name: 'token',
  summary: 'A row of a table for each id.',
  source: 'Bengio et al. 2003, A Neural Probabilistic Language Model',
  fields: {
    /** number of tokens. Inherited from the enclosing block. */
    vocabSize: int({ doc: 'number of tokens', min: 1, inherit: true }),
    /** output channels. Inherited from the enclosing block. */
    dim: int({ doc: 'output channels', unit: 'channels', min: 1, inherit: true }),
    /** factor of the embeddings. Default: `1`. */
    scale: num({ doc: 'factor of the embeddings', default: 1 }),
  },
  examples: [
    { vocabSize: 23, dim: 7 },
    { vocabSize: 11, dim: 5, scale: 2.5 },
  ],
  properties: ['batchIndependent', 'permutationEquivariant', 'causal'],
  create({ vocabSize, dim, scale }, { path }) {
    const weight = new Parameter([vocabSize, dim], init.normal(0.02), { role: 'embedding', part: 'weight' });
    return module({ weight }, (ids: Value) => {
      limitIndices(ids, vocabSize, `${path}.vocabSize`);
      return ops.mul(ops.gather(ids.graph.param(weight), ids, 0), scale);
    });
  },
});
