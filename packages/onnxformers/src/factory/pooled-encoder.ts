// An encoder with one more output: a vector for each sequence.
import { choice, defineBlock, int, keepContext, linear, module, type SequenceContext, slot, type Value } from '@onnxformers/core';
import { backboneFields, backboneInput, backboneOf, backboneRows, widthAfter } from './backbone';
import { pool } from './pool';

/**
 * A bidirectional stack with a pooler: hidden states, and a vector for each sequence.
 *
 *     pooler_output = f(W pool(h) + b)
 *
 * Shapes   ids int64 [batch, seq] or x [batch, seq, dim] → by output hidden_states [batch, seq, dim] or pooler_output [batch, poolerDim]
 * Dtypes   float32, float16, bfloat16
 * Masks    lengths, attention_mask, attention_bias (inputs of the model); a mean includes only real positions
 * Throws   ConfigError when neither ids nor x is an input
 * Source   Devlin et al. 2018, https://arxiv.org/abs/1810.04805
 * Lowers   as its layers
 * Example  const block = zoo.build('model', { name: 'pooled_encoder', dim: 64, stack: layers });
 */
export const pooledEncoder = defineBlock({
  kind: 'model',
  name: 'pooled_encoder',
  summary: 'A bidirectional stack that also returns one vector for each sequence.',
  source: 'Devlin et al. 2018, https://arxiv.org/abs/1810.04805',
  fields: {
    /** channels. Inherited from the enclosing block. */
    dim: int({ doc: 'channels', unit: 'channels', min: 1, inherit: true }),
    /** channels of the pooled vector. Default: computed from other options. */
    poolerDim: int({ doc: 'channels of the pooled vector', unit: 'channels', min: 1, default: (c: { dim: number }) => c.dim }),
    /** pooling: the first or last real position, or the mean over real positions. Default: `"first"`. */
    pooling: choice(['first', 'last', 'mean'], {
      doc: 'pooling: the first or last real position, or the mean over real positions',
      default: 'first',
    }),
    ...backboneFields,
    /** activation after the pooler's linear map. Default: `"tanh"`. */
    activation: slot('activation', { doc: "activation after the pooler's linear map", default: 'tanh' }),
  },
  examples: [
    {
      dim: 12,
      poolerDim: 7,
      stack: { name: 'stack', depth: 1, layers: { name: 'post_norm', mixer: { name: 'multi_head', heads: 3 } } },
    },
  ],
  outputs: ['hidden_states', 'pooler_output'],
  create(c) {
    const { pooling, activation } = c;
    const backbone = backboneOf(c);
    const pooler = linear(widthAfter(backbone, c.dim), c.poolerDim, { role: 'projection' });
    return module({ ...backbone, pooler, activation }, (inputs: Readonly<Record<string, Value>>, given: SequenceContext) => {
      const rows = backboneRows(backbone, backboneInput(backbone, inputs), given);
      const pooler_output = activation(pooler(pool(rows.hiddenStates, rows.ctx, pooling)));
      return { hidden_states: keepContext(rows), pooler_output };
    });
  },
});
