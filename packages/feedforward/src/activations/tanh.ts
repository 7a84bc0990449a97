// Hyperbolic tangent.
import { defineBlock, tanh as tanhOp, type Value } from '@onnxformers/core';

/**
 * Hyperbolic tangent.
 *
 *     y = tanh(x)
 *
 * Shapes   x any → like x
 * Dtypes   float32, float16, bfloat16
 * Lowers   everywhere: Tanh
 * Example  const f = tanh({});
 */
export const tanh = defineBlock({
  kind: 'activation',
  name: 'tanh',
  summary: 'tanh(x).',
  fields: {},
  examples: [{}],
  create: () => (x: Value) => tanhOp(x),
});
