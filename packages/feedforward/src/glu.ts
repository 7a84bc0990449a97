// A feed-forward whose hidden channels are multiplied by gates. Shazeer 2020, https://arxiv.org/abs/2002.05202
import { bool, defineBlock, dropout, init, int, linear, module, num, Parameter, slot, type Value } from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { silu } from './activations/silu';

/**
 * A feed-forward whose hidden channels are multiplied by gates (gated linear unit): SwiGLU with silu, GeGLU with gelu, ReGLU with relu, bilinear with identity.
 *
 *     y = W_down (f(W_gate x) ⊙ W_up x)
 *
 * Shapes   x [..., dim] → [..., outDim]
 * Dtypes   float32, float16, bfloat16
 * Cost     time O(rows · dim · hidden)
 * Throws   ConfigError for sizes below 1
 * Source   Shazeer 2020, https://arxiv.org/abs/2002.05202 (gate, up and down are its W, V and W₂)
 * Lowers   portable: primitives · elsewhere: MatMul, Mul and the activation's kernel
 * Example  const block = glu({ dim: 512, hidden: 1408, bias: false });
 */
export const glu = defineBlock({
  kind: 'feedforward',
  name: 'glu',
  summary: 'A feed-forward whose hidden channels are multiplied by gates.',
  source: 'Shazeer 2020, https://arxiv.org/abs/2002.05202',
  fields: {
    /** input channels. Inherited from the enclosing block. */
    dim: int({ doc: 'input channels', unit: 'channels', min: 1, inherit: true }),
    /** hidden channels. Default: computed from other options. */
    hidden: int({
      doc: 'hidden channels',
      unit: 'channels',
      min: 1,
      default: (c: { dim: number }) => Math.floor((8 * c.dim) / 3),
    }),
    /** output channels. Default: computed from other options. */
    outDim: int({ doc: 'output channels', unit: 'channels', min: 1, default: (c: { dim: number }) => c.dim }),
    /** the linear maps have a bias. Default: `true`. */
    bias: bool({ doc: 'the linear maps have a bias', default: true }),
    /** the checkpoint stores gate and up as one weight, gate_up_proj, with the gate first. Default: `false`. */
    packed: bool({ doc: 'the checkpoint stores gate and up as one weight, gate_up_proj, with the gate first', default: false }),
    /** dropout probability in training, of the hidden channels and of the output. Default: `0`. */
    dropout: num({
      doc: 'dropout probability in training, of the hidden channels and of the output',
      min: 0,
      max: 0.99,
      default: 0,
    }),
    /** activation of the gate. Default: `silu`. */
    activation: slot('activation', { doc: 'activation of the gate', default: silu }),
  },
  examples: [{ dim: 7 }, { dim: 5, hidden: 11, outDim: 3, bias: false }, { dim: 5, hidden: 7, packed: true }],
  properties: ['batchIndependent', 'permutationEquivariant', 'causal', 'deterministic'],
  create({ dim, hidden, outDim, bias, packed, dropout: p, activation }) {
    const down_proj = linear(hidden, outDim, { bias, role: 'hidden' });
    const join = (gate: Value, up: Value): Value => dropout(down_proj(dropout(ops.mul(activation(gate), up), p)), p);
    if (packed) {
      const gate_up_proj = packedPair(dim, hidden, bias);
      return module({ gate_up_proj, activation, down_proj }, (x: Value) => join(...gate_up_proj(x)));
    }
    const gate_proj = linear(dim, hidden, { bias, role: 'hidden' });
    const up_proj = linear(dim, hidden, { bias, role: 'hidden' });
    return module({ gate_proj, activation, up_proj, down_proj }, (x: Value) => join(gate_proj(x), up_proj(x)));
  },
});

// One stored weight, two linear maps: it is sliced once, when the model is written. Two products cost less than one and a split.
function packedPair(dim: number, hidden: number, bias: boolean) {
  const packed = [
    { rows: hidden, role: 'hidden' },
    { rows: hidden, role: 'hidden' },
  ];
  const weight = new Parameter([2 * hidden, dim], init.fanIn(), { role: 'hidden', part: 'weight', packed });
  const offset = bias ? new Parameter([2 * hidden], init.fanIn(dim), { role: 'hidden', part: 'bias', packed }) : undefined;
  const map = (x: Value, from: number): Value => {
    const g = x.graph.root;
    const half = (p: Parameter): Value => g.ops.slice(g.param(p), { axes: [0], starts: [from], ends: [from + hidden] });
    return ops.linear(x, half(weight), offset && half(offset));
  };
  return module({ weight, bias: offset }, (x: Value): [gate: Value, up: Value] => [map(x, 0), map(x, hidden)]);
}
