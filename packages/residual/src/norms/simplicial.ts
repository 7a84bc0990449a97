// Simplicial embeddings. Lavoie et al. 2022, https://arxiv.org/abs/2204.00616
import { ConfigError, defineBlock, int, module, num, slot, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';

/**
 * Simplicial embeddings: the channels in groups, each a point of a simplex. They follow the last layer of a stack, after an optional norm.
 *
 *     y[g] = softmax(norm(x)[g] / temperature)      for each group g of dim / groups consecutive channels
 *
 * Shapes   x [..., dim] → like x
 * Dtypes   float32, float16, bfloat16
 * Cost     time and memory O(elements of x)
 * Throws   ConfigError when groups does not divide dim
 * Source   Lavoie et al. 2022, https://arxiv.org/abs/2204.00616
 * Lowers   everywhere: Reshape, Div, Softmax
 * Example  const norm = simplicial({ dim: 512, groups: 16, temperature: 0.5 });
 */
export const simplicial = defineBlock({
  kind: 'norm',
  name: 'simplicial',
  summary: 'Softmax of groups of channels.',
  source: 'Lavoie et al. 2022, https://arxiv.org/abs/2204.00616',
  fields: {
    /** channels. Inherited from the enclosing block. */
    dim: int({ doc: 'channels', unit: 'channels', min: 1, inherit: true }),
    /** number of groups. */
    groups: int({ doc: 'number of groups', min: 1 }),
    /** the channels are divided by it before the softmax. Default: `1`. */
    temperature: num({ doc: 'the channels are divided by it before the softmax', above: 0, default: 1 }),
    /** norm before it. Optional. */
    norm: slot('norm', { doc: 'norm before it', optional: true }),
  },
  examples: [
    { dim: 21, groups: 3 },
    { dim: 10, groups: 2, temperature: 0.5, norm: 'layer_norm' },
  ],
  properties: ['batchIndependent', 'permutationEquivariant', 'causal'],
  create({ dim, groups, temperature, norm }, { path }) {
    if (dim % groups)
      throw new ConfigError({
        path: `${path}.groups`,
        problem: 'the channels cannot be divided into groups of equal size',
        expected: `a divisor of dim = ${dim}`,
        got: String(groups),
      });
    return module({ norm }, (x: Value) => {
      const { div, reshape } = x.graph.ops;
      const rows = norm ? norm(x) : x;
      const grouped = reshape(rows, [...x.dims.slice(0, -1), groups, dim / groups]);
      const scaled = temperature === 1 ? grouped : div(grouped, temperature);
      return reshape(ops.softmax(scaled), x.dims);
    });
  },
});
