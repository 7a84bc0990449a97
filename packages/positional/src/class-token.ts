// A class token without positions. Dosovitskiy et al. 2020, https://arxiv.org/abs/2010.11929
import { defineBlock, init, int, module, Parameter, prefixed, type SequenceContext, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';

/**
 * Puts a learned class token before each sequence, for models whose layers know positions by themselves (BEiT). With learned positions, it is an option of `learnable`.
 *
 *     y = [c; x]
 *
 * The masks, lengths and positions of the model's layers are extended by one.
 *
 * Shapes   x [batch, seq, dim], packed [tokens, dim] → [batch, seq + 1, dim], packed [tokens + batch, dim]
 * Dtypes   float32, float16, bfloat16
 * Cost     time and memory O(seq · dim)
 * Throws   ConfigError for a state, which has no place for a token before earlier ones
 * Source   Dosovitskiy et al. 2020, https://arxiv.org/abs/2010.11929
 * Lowers   everywhere: Concat
 * Example  const block = classToken({ dim: 64 });
 */
export const classToken = defineBlock({
  kind: 'position',
  name: 'class_token',
  summary: 'Puts a learned class token before each sequence.',
  source: 'Dosovitskiy et al. 2020, https://arxiv.org/abs/2010.11929',
  fields: {
    /** channels. Inherited from the enclosing block. */
    dim: int({ doc: 'channels', unit: 'channels', min: 1, inherit: true }),
  },
  examples: [{ dim: 7 }],
  properties: ['batchIndependent'],
  create({ dim }) {
    const weight = new Parameter([dim], init.zeros, { role: 'position', part: 'weight' });
    return module({ weight }, (x: Value, ctx: SequenceContext) => prefixed(x, ops.unsqueeze(x.graph.param(weight), [0]), ctx));
  },
});
