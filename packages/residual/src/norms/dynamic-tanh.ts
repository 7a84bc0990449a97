// Dynamic tanh. Zhu et al. 2025, https://arxiv.org/abs/2503.10622
import { defineBlock, init, int, module, num, Parameter, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';

/**
 * Dynamic tanh, which takes the place of a norm and computes no statistics.
 *
 *     y = tanh(α x) · weight + bias      α: one learned number
 *
 * Shapes   x [..., dim] → like x
 * Dtypes   float32, float16, bfloat16
 * Cost     time and memory O(elements of x)
 * Throws   ConfigError for sizes below 1
 * Source   Zhu et al. 2025, https://arxiv.org/abs/2503.10622
 * Lowers   everywhere: Mul, Tanh, Add
 * Example  const norm = dynamicTanh({ dim: 512 });
 */
export const dynamicTanh = defineBlock({
  kind: 'norm',
  name: 'dynamic_tanh',
  summary: 'tanh of scaled channels, scaled and shifted.',
  source: 'Zhu et al. 2025, https://arxiv.org/abs/2503.10622',
  fields: {
    /** channels. Inherited from the enclosing block. */
    dim: int({ doc: 'channels', unit: 'channels', min: 1, inherit: true }),
    /** initial value of α. Default: `0.5`. */
    alpha: num({ doc: 'initial value of α', default: 0.5 }),
  },
  examples: [{ dim: 7 }, { dim: 5, alpha: 0.8 }],
  properties: ['batchIndependent', 'permutationEquivariant', 'causal'],
  create({ dim, alpha: start }) {
    const alpha = new Parameter([1], init.constant(start), { role: 'scale', part: 'other' });
    const weight = new Parameter([dim], init.ones, { role: 'norm', part: 'weight' });
    const bias = new Parameter([dim], init.zeros, { role: 'norm', part: 'bias' });
    return module({ alpha, weight, bias }, (x: Value) => {
      const g = x.graph.root;
      return ops.add(ops.mul(ops.tanh(ops.mul(x, g.param(alpha))), g.param(weight)), g.param(bias));
    });
  },
});
