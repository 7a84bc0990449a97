// Two linear maps around an activation. Vaswani et al. 2017, https://arxiv.org/abs/1706.03762
import { bool, defineBlock, dropout, int, linear, module, num, slot, type Value } from '@onnxformers/core';
import { gelu } from './activations/gelu';

/**
 * Two linear maps around an activation.
 *
 *     y = W₂ f(W₁ x + b₁) + b₂
 *
 * Shapes   x [..., dim] → [..., outDim]
 * Dtypes   float32, float16, bfloat16
 * Cost     time O(rows · dim · hidden)
 * Throws   ConfigError for sizes below 1
 * Source   Vaswani et al. 2017, https://arxiv.org/abs/1706.03762
 * Lowers   portable: primitives · elsewhere: MatMul, BiasGelu (gelu), FastGelu (gelu_tanh), or Add and the activation's kernel
 * Example  const block = mlp({ dim: 512, hidden: 2048 });
 */
export const mlp = defineBlock({
  kind: 'feedforward',
  name: 'mlp',
  summary: 'Two linear maps around an activation.',
  source: 'Vaswani et al. 2017, https://arxiv.org/abs/1706.03762',
  fields: {
    /** channels in. Inherited from the block around. */
    dim: int({ doc: 'channels in', unit: 'channels', min: 1, inherit: true }),
    /** channels inside. Default: from other options. */
    hidden: int({ doc: 'channels inside', unit: 'channels', min: 1, default: (c: { dim: number }) => 4 * c.dim }),
    /** channels out. Default: from other options. */
    outDim: int({ doc: 'channels out', unit: 'channels', min: 1, default: (c: { dim: number }) => c.dim }),
    /** both maps have a bias. Default: `true`. */
    bias: bool({ doc: 'both maps have a bias', default: true }),
    /** probability of dropping a channel after each map, in training. Default: `0`. */
    dropout: num({ doc: 'probability of dropping a channel after each map, in training', min: 0, max: 0.99, default: 0 }),
    /** between the maps. Default: `gelu`. */
    activation: slot('activation', { doc: 'between the maps', default: gelu }),
  },
  examples: [{ dim: 7 }, { dim: 5, hidden: 11, outDim: 3, bias: false }, { dim: 6, activation: 'gelu_tanh' }],
  properties: ['batchIndependent', 'permutationEquivariant', 'causal', 'deterministic'],
  create({ dim, hidden, outDim, bias, dropout: p, activation }) {
    const up = linear(dim, hidden, { bias, role: 'hidden' });
    const down = linear(hidden, outDim, { bias, role: 'hidden' });
    return module({ up, activation, down }, (x: Value) => dropout(down(dropout(activation(up(x)), p)), p));
  },
});
