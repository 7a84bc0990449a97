// An activation of your own.
import { defineBlock, fn, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';

/**
 * An activation of your own, made of ops. A config that contains one builds a module, but has no JSON.
 *
 *     y = f(x)
 *
 * Shapes   x any → like x
 * Dtypes   float32, float16, bfloat16
 * Cost     that of its ops
 * Throws   ConfigError if f is not a function, and when such a config is written as JSON
 * Lowers   as its ops
 * Example  const f = custom({ f: (x) => sin(x) });
 */
export const custom = defineBlock({
  kind: 'activation',
  name: 'custom',
  summary: 'A function of your own.',
  fields: {
    /** a function from a value of any shape to a value of the same shape. */
    f: fn<(x: Value) => Value>()({ doc: 'a function from a value of any shape to a value of the same shape' }),
  },
  examples: [{ f: (x: Value) => ops.sin(x) }],
  create: ({ f }) => f,
});
