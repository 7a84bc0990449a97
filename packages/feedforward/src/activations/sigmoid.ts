// Logistic function.
import { defineBlock, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';

/**
 * Logistic function.
 *
 *     y = 1 / (1 + e⁻ˣ)
 *
 * Shapes   x any → like x
 * Dtypes   float32, float16, bfloat16
 * Cost     time and memory O(elements of x)
 * Lowers   everywhere: Sigmoid
 * Example  const f = sigmoid({});
 */
export const sigmoid = defineBlock({
  kind: 'activation',
  name: 'sigmoid',
  summary: '1 / (1 + e⁻ˣ).',
  fields: {},
  examples: [{}],
  create: () => (x: Value) => ops.sigmoid(x),
});
