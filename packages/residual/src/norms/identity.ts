// No norm.
import { defineBlock, type Value } from '@onnxformers/core';

/**
 * No norm.
 *
 *     y = x
 *
 * Shapes   x any → like x
 * Dtypes   float32, float16, bfloat16
 * Cost     none: the result is x itself
 * Lowers   everywhere: nothing
 * Example  const norm = identity({});
 */
export const identity = defineBlock({
  kind: 'norm',
  name: 'identity',
  summary: 'x itself.',
  fields: {},
  examples: [{}],
  create: () => (x: Value) => x,
});
