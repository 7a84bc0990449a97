// A feed-forward of two linear maps and an activation. Vaswani et al. 2017, https://arxiv.org/abs/1706.03762
import { bool, defineBlock, dropout, int, linear, module, num, slot, type Value } from '@onnxformers/core';
import { gelu } from './activations/gelu';

/**
 * A feed-forward of two linear maps with an activation between them (multi-layer perceptron).
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
  summary: 'Two linear maps with an activation between them.',
  source: 'Vaswani et al. 2017, https://arxiv.org/abs/1706.03762',
  fields: {
    /** input channels. Inherited from the enclosing block. */
    dim: int({ doc: 'input channels', unit: 'channels', min: 1, inherit: true }),
    /** hidden channels. Default: computed from other options. */
    hidden: int({ doc: 'hidden channels', unit: 'channels', min: 1, default: (c: { dim: number }) => 4 * c.dim }),
    /** output channels. Default: computed from other options. */
    outDim: int({ doc: 'output channels', unit: 'channels', min: 1, default: (c: { dim: number }) => c.dim }),
    /** both linear maps have a bias. Default: `true`. */
    bias: bool({ doc: 'both linear maps have a bias', default: true }),
    /** dropout probability after each linear map in training. Default: `0`. */
    dropout: num({ doc: 'dropout probability after each linear map in training', min: 0, max: 0.99, default: 0 }),
    /** activation between the linear maps. Default: `gelu`. */
    activation: slot('activation', { doc: 'activation between the linear maps', default: gelu }),
  },
  examples: [{ dim: 7 }, { dim: 5, hidden: 11, outDim: 3, bias: false }, { dim: 6, activation: 'gelu_tanh' }],
  properties: ['batchIndependent', 'permutationEquivariant', 'causal', 'deterministic'],
  create({ dim, hidden, outDim, bias, dropout: p, activation }) {
    const up = linear(dim, hidden, { bias, role: 'hidden' });
    const down = linear(hidden, outDim, { bias, role: 'hidden' });
    return module({ up, activation, down }, (x: Value) => dropout(down(dropout(activation(up(x)), p)), p));
  },
});
