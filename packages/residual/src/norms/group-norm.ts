// Group norm. Wu and He 2018, https://arxiv.org/abs/1803.08494
import { ConfigError, defineBlock, init, int, module, num, Parameter, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';

/**
 * Group norm of each position: groups of channels are standardised, then scaled and shifted. Positions do not mix, unlike in group norms of images,
 * whose mean is also over places.
 *
 *     y[g] = (x[g] − mean(x[g])) / √(var(x[g]) + eps) · weight[g] + bias[g]      for each group g of dim / groups consecutive channels
 *
 * Shapes   x [..., dim] → like x
 * Dtypes   float32, float16, bfloat16; mean and variance in float32
 * Cost     time and memory O(elements of x)
 * Throws   ConfigError when groups does not divide dim
 * Source   Wu and He 2018, https://arxiv.org/abs/1803.08494
 * Lowers   everywhere: Reshape, LayerNormalization, Mul, Add
 * Example  const norm = groupNorm({ dim: 512, groups: 8 });
 */
export const groupNorm = defineBlock({
  kind: 'norm',
  name: 'group_norm',
  summary: 'Groups of channels with mean 0 and variance 1, scaled and shifted.',
  source: 'Wu and He 2018, https://arxiv.org/abs/1803.08494',
  fields: {
    /** channels. Inherited from the enclosing block. */
    dim: int({ doc: 'channels', unit: 'channels', min: 1, inherit: true }),
    /** number of groups. */
    groups: int({ doc: 'number of groups', min: 1 }),
    /** added to the variance. Default: `0.00001`. */
    eps: num({ doc: 'added to the variance', min: 0, default: 1e-5 }),
  },
  examples: [
    { dim: 21, groups: 3 },
    { dim: 10, groups: 2, eps: 1e-3 },
  ],
  properties: ['batchIndependent', 'permutationEquivariant', 'causal'],
  create({ dim, groups, eps }, { path }) {
    if (dim % groups)
      throw new ConfigError({
        path: `${path}.groups`,
        problem: 'the channels cannot be divided into groups of equal size',
        expected: `a divisor of dim = ${dim}`,
        got: String(groups),
      });
    const weight = new Parameter([dim], init.ones, { role: 'norm', part: 'weight' });
    const bias = new Parameter([dim], init.zeros, { role: 'norm', part: 'bias' });
    return module({ weight, bias }, (x: Value) => {
      const g = x.graph.root;
      const { add, fill, mul, reshape } = g.ops;
      const grouped = reshape(x, [...x.dims.slice(0, -1), groups, dim / groups]);
      // The kernel has one scale for each channel of a group, so that of the channels follows.
      const standard = ops.layerNorm(grouped, fill(x, [dim / groups], 1, x.dtype), undefined, { epsilon: eps });
      return add(mul(reshape(standard, x.dims), g.param(weight)), g.param(bias));
    });
  },
});
