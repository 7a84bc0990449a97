// Classification of a sequence.
import { choice, defineBlock, int, linear, module, type SequenceContext, type Value } from '@onnxformers/core';
import { backboneFields, backboneInput, backboneOf, backboneRows, widthAfter } from './backbone';
import { pool } from './pool';

/**
 * An encoder, pooling over each sequence, and a head over the classes.
 *
 * Shapes   ids int64 [batch, seq] or x [batch, seq, dim] → logits [batch, classes]
 * Dtypes   float32, float16, bfloat16
 * Masks    lengths, attention_mask, attention_bias (inputs of the model); a mean includes only real positions
 * Throws   ConfigError when neither ids nor x is an input
 * Source   Devlin et al. 2018, https://arxiv.org/abs/1810.04805 (pooling: first)
 * Lowers   as its layers, with a MatMul for the head
 * Example  const block = zoo.build('model', { name: 'classifier', dim: 64, classes: 10, stack: layers });
 */
export const classifier = defineBlock({
  kind: 'model',
  name: 'classifier',
  summary: 'An encoder, pooling over each sequence, and a head over the classes.',
  source: 'Devlin et al. 2018, https://arxiv.org/abs/1810.04805 (pooling: first)',
  fields: {
    /** channels. Inherited from the enclosing block. */
    dim: int({ doc: 'channels', unit: 'channels', min: 1, inherit: true }),
    /** number of classes. */
    classes: int({ doc: 'number of classes', min: 1 }),
    /** pooling: the first position, or the mean over real positions. Default: `"mean"`. */
    pooling: choice(['first', 'mean'], { doc: 'pooling: the first position, or the mean over real positions', default: 'mean' }),
    ...backboneFields,
  },
  examples: [
    {
      dim: 12,
      classes: 5,
      stack: {
        name: 'stack',
        depth: 1,
        layers: { name: 'pre_norm', mixer: { name: 'multi_head', heads: 3 }, feedforward: 'mlp' },
        norm: 'layer_norm',
      },
    },
    {
      dim: 12,
      classes: 5,
      pooling: 'first',
      stack: { name: 'stack', depth: 1, layers: { name: 'pre_norm', mixer: { name: 'multi_head', heads: 3 } } },
    },
  ],
  outputs: ['logits'],
  create(c) {
    const { dim, classes, pooling } = c;
    const backbone = backboneOf(c);
    const head = linear(widthAfter(backbone, dim), classes, { role: 'head' });
    return module({ ...backbone, head }, (inputs: Readonly<Record<string, Value>>, given: SequenceContext) => {
      const { hiddenStates: rows, ctx } = backboneRows(backbone, backboneInput(backbone, inputs), given);
      return { logits: head(pool(rows, ctx, pooling)) };
    });
  },
});
