// Hyperbolic tangent.
import { defineBlock, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';

/**
 * Hyperbolic tangent.
 *
 *     y = tanh(x)
 *
 * Shapes   x any → like x
 * Dtypes   float32, float16, bfloat16
 * Cost     time and memory O(elements of x)
 * Lowers   everywhere: Tanh
 * Example  const f = tanh({});
 */
export const tanh = defineBlock({
  kind: 'activation',
  name: 'tanh',
  summary: 'tanh(x).',
  fields: {},
  examples: [{}],
  create: () => (x: Value) => ops.tanh(x),
});
