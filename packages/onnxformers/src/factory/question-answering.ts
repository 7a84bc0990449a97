// The span of a text that answers a question.
import { defineBlock, int, linear, module, type SequenceContext, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { backboneFields, backboneInput, backboneOf, runBackbone, widthAfter } from './backbone';

/**
 * An encoder of a question and a text, and two logits at each position: that the answer starts or ends there.
 *
 *     [start_logits, end_logits] = W h + b
 *
 * Shapes   ids int64 [batch, seq] or x [batch, seq, dim] → start_logits, end_logits [batch, seq]
 * Dtypes   float32, float16, bfloat16
 * Masks    lengths, attention_mask, attention_bias (inputs of the model)
 * Cost     that of the stack, and time O(seq · dim) for the head
 * Throws   ConfigError when neither ids nor x is an input
 * Source   Devlin et al. 2018, https://arxiv.org/abs/1810.04805
 * Lowers   as its layers, with a MatMul for the head
 * Example  const block = zoo.build('model', { name: 'question_answering', dim: 64, stack: layers });
 */
export const questionAnswering = defineBlock({
  kind: 'model',
  name: 'question_answering',
  summary: 'An encoder and the logits of start and end of an answer.',
  source: 'Devlin et al. 2018, https://arxiv.org/abs/1810.04805',
  fields: {
    /** channels. Inherited from the enclosing block. */
    dim: int({ doc: 'channels', unit: 'channels', min: 1, inherit: true }),
    ...backboneFields,
  },
  examples: [
    {
      dim: 12,
      stack: { name: 'stack', depth: 1, layers: { name: 'pre_norm', mixer: { name: 'multi_head', heads: 3 } } },
    },
  ],
  outputs: ['start_logits', 'end_logits'],
  create(c) {
    const backbone = backboneOf(c);
    const head = linear(widthAfter(backbone, c.dim), 2, { role: 'head' });
    return module({ ...backbone, head }, (inputs: Readonly<Record<string, Value>>, ctx: SequenceContext) => {
      const logits = head(runBackbone(backbone, backboneInput(backbone, inputs), ctx));
      const [start, end] = ops.split(logits, [1, 1], -1) as [Value, Value];
      return { start_logits: ops.squeeze(start, [-1]), end_logits: ops.squeeze(end, [-1]) };
    });
  },
});
