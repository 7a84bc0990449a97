// Scale norm. Nguyen and Salazar 2019, https://arxiv.org/abs/1910.05895
import { defineBlock, init, int, module, num, Parameter, type Value } from '@onnxformers/core';

/**
 * Scale norm: each vector has one learned length.
 *
 *     y = g · x / max(‖x‖, eps)      g: one number, √dim at first
 *
 * Shapes   x [..., dim] → like x
 * Dtypes   float32, float16, bfloat16; the length in float32
 * Cost     time and memory O(elements of x)
 * Throws   ConfigError for sizes below 1
 * Source   Nguyen and Salazar 2019, https://arxiv.org/abs/1910.05895
 * Lowers   everywhere: ReduceL2, Div, Mul
 * Example  const norm = scaleNorm({ dim: 512 });
 */
export const scaleNorm = defineBlock({
  kind: 'norm',
  name: 'scale_norm',
  summary: 'Channels as a vector of one learned length.',
  source: 'Nguyen and Salazar 2019, https://arxiv.org/abs/1910.05895',
  fields: {
    /** channels. Inherited from the enclosing block. */
    dim: int({ doc: 'channels', unit: 'channels', min: 1, inherit: true }),
    /** least length that x is divided by. Default: `0.00001`. */
    eps: num({ doc: 'least length that x is divided by', above: 0, default: 1e-5 }),
  },
  examples: [{ dim: 7 }, { dim: 5, eps: 0.5 }],
  properties: ['batchIndependent', 'permutationEquivariant', 'causal'],
  create({ dim, eps }) {
    const weight = new Parameter([1], init.constant(Math.sqrt(dim)), { role: 'norm', part: 'weight' });
    return module({ weight }, (x: Value) => {
      const { cast, div, max, mul, reduceL2 } = x.graph.ops;
      const wide = cast(x, 'float32');
      const length = max(reduceL2(wide, [-1]), eps);
      return mul(cast(div(wide, length), x.dtype), x.graph.root.param(weight));
    });
  },
});
