// Rectified linear unit. Nair and Hinton 2010, https://icml.cc/Conferences/2010/papers/432.pdf
import { defineBlock } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';

/**
 * Rectified linear unit.
 *
 *     y = max(x, 0)
 *
 * Shapes   x any → like x
 * Dtypes   float32, float16, bfloat16
 * Cost     time and memory O(elements of x)
 * Source   Nair and Hinton 2010, https://icml.cc/Conferences/2010/papers/432.pdf
 * Lowers   everywhere: Relu
 * Example  const f = relu({});
 */
export const relu = defineBlock({
  kind: 'activation',
  name: 'relu',
  summary: 'max(x, 0).',
  source: 'Nair and Hinton 2010, https://icml.cc/Conferences/2010/papers/432.pdf',
  fields: {},
  examples: [{}],
  create: () => ops.relu,
});
