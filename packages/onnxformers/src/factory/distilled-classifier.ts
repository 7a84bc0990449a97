// Classification by a class token and a distillation token. Touvron et al. 2020, https://arxiv.org/abs/2012.12877
import { ConfigError, defineBlock, int, linear, module, type SequenceContext, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { backboneFields, backboneInput, backboneOf, backboneRows, widthAfter } from './backbone';

/**
 * Classification of images by two heads: one reads the class token, the other the distillation token, which was trained on the classes that a teacher
 * predicts. The embeddings put these tokens first, as `learnable` does.
 *
 *     logits = (cls_logits + distillation_logits) / 2      cls_logits = W₁ h₀ + b₁      distillation_logits = W₂ h₁ + b₂
 *
 * Shapes   pixels [batch, channels, height, width] or x [batch, seq, dim] → logits, cls_logits, distillation_logits [batch, classes]
 * Dtypes   float32, float16, bfloat16
 * Masks    lengths, attention_mask, attention_bias (inputs of the model)
 * Cost     that of the stack, and time O(dim · classes) for the heads
 * Throws   ConfigError when no sequence is an input, and for a packed batch · FeedError from the runner for fewer than two positions
 * Source   Touvron et al. 2020, https://arxiv.org/abs/2012.12877
 * Lowers   as its layers, with a MatMul for each head
 * Example  const block = zoo.build('model', { name: 'distilled_classifier', dim: 64, classes: 10, stack: layers });
 */
export const distilledClassifier = defineBlock({
  kind: 'model',
  name: 'distilled_classifier',
  summary: 'Classification of images by a class token and a distillation token.',
  source: 'Touvron et al. 2020, https://arxiv.org/abs/2012.12877',
  fields: {
    /** channels. Inherited from the enclosing block. */
    dim: int({ doc: 'channels', unit: 'channels', min: 1, inherit: true }),
    /** number of classes. */
    classes: int({ doc: 'number of classes', min: 1 }),
    ...backboneFields,
  },
  examples: [
    {
      dim: 10,
      classes: 3,
      seqLen: 11,
      position: { name: 'learnable', classToken: true, distillationToken: true },
      stack: { name: 'stack', depth: 1, layers: { name: 'pre_norm', mixer: { name: 'multi_head', heads: 2 } } },
    },
  ],
  outputs: ['logits', 'cls_logits', 'distillation_logits'],
  create(c, { path }) {
    const backbone = backboneOf(c);
    const width = widthAfter(backbone, c.dim);
    const [head, distillation_head] = [0, 1].map(() => linear(width, c.classes, { role: 'head' }));
    const children = { ...backbone, head, distillation_head };
    return module(children, (inputs: Readonly<Record<string, Value>>, given: SequenceContext) => {
      if (given.layout.kind === 'packed')
        throw new ConfigError({
          path,
          problem: 'the tokens are read at the first two positions of a padded batch',
          expected: "layout: 'padded'",
          got: 'a packed batch',
        });
      const { hiddenStates: rows } = backboneRows(backbone, backboneInput(backbone, inputs), given);
      rows.graph.root.limit({ size: rows.dims[1]!, min: 2, problem: 'no class and distillation tokens', by: path });
      const at = (token: number): Value => ops.gather(rows, rows.graph.number(token, 'int64'), 1);
      const [cls_logits, distillation_logits] = [head!(at(0)), distillation_head!(at(1))];
      return { logits: ops.mul(ops.add(cls_logits, distillation_logits), 0.5), cls_logits, distillation_logits };
    });
  },
});
