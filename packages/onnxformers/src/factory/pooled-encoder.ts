// An encoder with one more output: a vector for each sequence.
import { bool, defineBlock, int, keepContext, linear, module, type SequenceContext, slot, type Value } from '@onnxformers/core';
import { backboneFields, backboneInput, backboneOf, backboneRows } from './backbone';
import { causally } from './decoder';
import { pooledWidth, poolerOf, poolFields, poolingField } from './pool';

/**
 * A bidirectional stack with a pooler: hidden states, and a vector for each sequence.
 *
 *     pooler_output = f(W norm(pool(layer(h))) + b)      norm and layer are optional; without a projection: norm(pool(layer(h)))
 *
 * Shapes   ids int64 [batch, seq] or x [batch, seq, dim] → by output hidden_states [batch, seq, dim] or pooler_output [batch, poolerDim]; without a projection [batch, dim], twice as many channels for first_and_rest
 * Dtypes   float32, float16, bfloat16
 * Masks    lengths, attention_mask, attention_bias (inputs of the model); a mean includes only real positions
 * Cost     that of the stack, and time O(seq · dim + dim · poolerDim) for the pooler
 * Throws   ConfigError when neither ids nor x is an input, for the pooling `id` without ids, and for `end` and `id` of a packed batch
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
    /** what is pooled of the real positions: the first, the last, the mean, the mean of the rest after the first position (a class token), the first and that mean one after the other; or the last position even if it is padding (end), or the one of an id. Default: `"first"`. */
    pooling: poolingField('first'),
    /** the layers are a decoder: no position attends to a later one. Default: `false`. */
    causal: bool({ doc: 'the layers are a decoder: no position attends to a later one', default: false }),
    ...backboneFields,
    ...poolFields,
    /** a linear map and an activation follow the pooling. Default: `true`. */
    projection: bool({ doc: 'a linear map and an activation follow the pooling', default: true }),
    /** that linear map has a bias. Default: `true`. */
    poolerBias: bool({ doc: 'that linear map has a bias', default: true }),
    /** activation after the pooler's linear map. Default: `"tanh"`. */
    activation: slot('activation', { doc: "activation after the pooler's linear map", default: 'tanh' }),
  },
  examples: [
    {
      dim: 12,
      poolerDim: 7,
      stack: { name: 'stack', depth: 1, layers: { name: 'post_norm', mixer: { name: 'multi_head', heads: 3 } } },
    },
    {
      dim: 10,
      projection: false,
      pooling: 'rest',
      poolNorm: 'layer_norm',
      stack: { name: 'stack', depth: 1, layers: { name: 'pre_norm', mixer: { name: 'multi_head', heads: 2 } } },
    },
  ],
  outputs: ['hidden_states', 'pooler_output'],
  create(c) {
    const backbone = backboneOf(c);
    const pool = poolerOf(c);
    const pooler = c.projection ? linear(pooledWidth(c), c.poolerDim, { bias: c.poolerBias, role: 'projection' }) : undefined;
    const activation = pooler && c.activation;
    const children = { ...backbone, pool, pooler, activation };
    return module(children, (inputs: Readonly<Record<string, Value>>, given: SequenceContext) => {
      const rows = backboneRows(backbone, backboneInput(backbone, inputs), c.causal ? causally(given) : given);
      const pooled = pool(rows.hiddenStates, rows.ctx, inputs.ids);
      return { hidden_states: keepContext(rows), pooler_output: pooler && activation ? activation(pooler(pooled)) : pooled };
    });
  },
});
