// No activation.
import { defineBlock, type Value } from '@onnxformers/core';

/**
 * No activation: makes a gated linear unit bilinear.
 *
 *     y = x
 *
 * Shapes   x any → like x
 * Dtypes   float32, float16, bfloat16
 * Cost     none: the result is x itself
 * Lowers   everywhere: nothing
 * Example  const f = identity({});
 */
export const identity = defineBlock({
  kind: 'activation',
  name: 'identity',
  summary: 'x itself.',
  fields: {},
  examples: [{}],
  create: () => (x: Value) => x,
});
