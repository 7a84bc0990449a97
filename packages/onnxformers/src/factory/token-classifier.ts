// Classification of each position.
import { defineBlock, int, linear, module, type SequenceContext, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { backboneFields, backboneInput, backboneOf, runBackbone, widthAfter } from './backbone';
import { transformFields, transformOf } from './classifier';

/**
 * An encoder and a head over the classes at each position; without `classes`, one logit for each position, such as whether a token was replaced.
 *
 *     logits = W norm(f(V h + c)) + b      without a transform: W h + b
 *
 * Shapes   ids int64 [batch, seq] or x [batch, seq, dim] → logits [batch, seq, classes], or [batch, seq] without classes
 * Dtypes   float32, float16, bfloat16
 * Masks    lengths, attention_mask, attention_bias (inputs of the model)
 * Cost     that of the stack, and time O(seq · dim · classes) for the head
 * Throws   ConfigError when neither ids nor x is an input
 * Source   Devlin et al. 2018, https://arxiv.org/abs/1810.04805; one logit: Clark et al. 2020, https://arxiv.org/abs/2003.10555
 * Lowers   as its layers, with a MatMul for the head
 * Example  const block = zoo.build('model', { name: 'token_classifier', dim: 64, classes: 9, stack: layers });
 */
export const tokenClassifier = defineBlock({
  kind: 'model',
  name: 'token_classifier',
  summary: 'An encoder and a head over the classes at each position.',
  source: 'Devlin et al. 2018, https://arxiv.org/abs/1810.04805',
  fields: {
    /** channels. Inherited from the enclosing block. */
    dim: int({ doc: 'channels', unit: 'channels', min: 1, inherit: true }),
    /** number of classes; absent: one logit for each position. Optional. */
    classes: int({ doc: 'number of classes; absent: one logit for each position', min: 1, optional: true }),
    ...backboneFields,
    ...transformFields,
  },
  examples: [
    {
      dim: 12,
      classes: 5,
      stack: { name: 'stack', depth: 1, layers: { name: 'pre_norm', mixer: { name: 'multi_head', heads: 3 } } },
    },
    {
      dim: 12,
      stack: { name: 'stack', depth: 1, layers: { name: 'pre_norm', mixer: { name: 'multi_head', heads: 2 } } },
      transform: 'gelu',
    },
  ],
  outputs: ['logits'],
  create(c) {
    const backbone = backboneOf(c);
    const width = widthAfter(backbone, c.dim);
    const { children, apply } = transformOf(width, c);
    const head = linear(width, c.classes ?? 1, { role: 'head' });
    return module({ ...backbone, ...children, head }, (inputs: Readonly<Record<string, Value>>, ctx: SequenceContext) => {
      const logits = head(apply(runBackbone(backbone, backboneInput(backbone, inputs), ctx)));
      return { logits: c.classes === undefined ? ops.squeeze(logits, [-1]) : logits };
    });
  },
});
