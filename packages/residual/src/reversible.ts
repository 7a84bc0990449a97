// A reversible residual layer. Gomez et al. 2017, https://arxiv.org/abs/1707.04585

import { choice, defineBlock, each, int, module, type SequenceContext, slot, type Value } from '@onnxformers/core';
import { aFunction, given } from '@onnxformers/core/lowering';
import { layerNorm } from './norms/layer-norm';

/**
 * One reversible step on two halves of the channels, x = [x₁, x₂].
 *
 *     y₁ = x₁ + f(x₂), y₂ = x₂ + g(y₁)      inverse: x₂ = y₂ − g(y₁), x₁ = y₁ − f(x₂)
 *
 * Shapes   x [..., 2 · dim] → the same; f and g [..., dim] → [..., dim]
 * Throws   ShapeError for a number of channels that is odd or not known
 * Lowers   everywhere: Split, Add, Concat
 * Example  const y = reversibleStep(x, (h) => ops.mul(h, 2), (h) => ops.tanh(h));
 */
export function reversibleStep(x: Value, f: (x: Value) => Value, g: (x: Value) => Value): Value {
  given('reversibleStep', { x, f }, { f: aFunction });
  const half = Number(x.dims.at(-1)) / 2;
  // Of the graph: its sizes are numbers, and what these ops know of other sizes comes with `compile`.
  const { add, concat, split } = x.graph.ops;
  const [x1, x2] = split(x, [half, half], -1) as [Value, Value];
  const y1 = add(x1, f(x2));
  return concat([y1, add(x2, g(y1))], -1);
}

/**
 * A reversible residual layer: a mixer adds to one half of the channels, a feed-forward to the other, so the input can be computed from the
 * output. `reversible_stack` makes the halves, runs such layers and joins them.
 *
 *     y₁ = x₁ + f(x₂), y₂ = x₂ + g(y₁)      f = mixer(norm(·)), g = feedforward(norm(·)), or norm(mixer(·)), norm(feedforward(·))
 *
 * Training steps made by `grad` keep the intermediate results and do not compute the inputs anew.
 *
 * Shapes   x [..., seq, 2 · dim] → the same
 * Dtypes   float32, float16, bfloat16
 * Cost     that of its sub-layers, and O(seq · dim) for norms and sums
 * Throws   ShapeError when a sub-layer changes the number of channels
 * Source   Gomez et al. 2017, https://arxiv.org/abs/1707.04585; Kitaev et al. 2020, https://arxiv.org/abs/2001.04451
 * Lowers   everywhere: Split, Add, Concat, and as the sub-layers
 * Example  const block = zoo.build('layer', { name: 'reversible', dim: 12, mixer: { name: 'multi_head', heads: 3 }, feedforward: 'mlp' });
 */
export const reversible = defineBlock({
  kind: 'layer',
  name: 'reversible',
  summary: 'A reversible residual layer on two halves of the channels.',
  source: 'Gomez et al. 2017, https://arxiv.org/abs/1707.04585',
  fields: {
    /** channels of each half. Inherited from the enclosing block. */
    dim: int({ doc: 'channels of each half', unit: 'channels', min: 1, inherit: true }),
    /** the mixer, which adds to the first half. */
    mixer: slot('mixer', { doc: 'the mixer, which adds to the first half' }),
    /** the feed-forward, which adds to the second half. */
    feedforward: slot('feedforward', { doc: 'the feed-forward, which adds to the second half' }),
    /** the norm is before or after each sub-layer. Default: `"before"`. */
    normPlace: choice(['before', 'after'], { doc: 'the norm is before or after each sub-layer', default: 'before' }),
    /** norm of each sub-layer. Default: `layer_norm`. */
    norm: each('norm', { doc: 'norm of each sub-layer', default: layerNorm }),
  },
  inputs: ({ about: { config } }) => ({ x: { dtype: 'float32', dims: ['batch', 'seq', 2 * (config!.dim as number)] } }),
  examples: [
    { dim: 12, mixer: { name: 'multi_head', heads: 3 }, feedforward: 'mlp' },
    {
      dim: 10,
      mixer: { name: 'multi_head', heads: 2 },
      feedforward: { name: 'glu', hidden: 7 },
      normPlace: 'after',
      norm: 'rms_norm',
    },
  ],
  create({ mixer, feedforward, normPlace, norm }) {
    const [norm1, norm2] = [norm(0), norm(1)];
    const before = normPlace === 'before';
    return module({ norm1, mixer, norm2, feedforward }, (x: Value, ctx: SequenceContext) =>
      reversibleStep(
        x,
        (h) => (before ? mixer(norm1(h), ctx) : norm1(mixer(h, ctx))),
        (h) => (before ? feedforward(norm2(h), ctx) : norm2(feedforward(h, ctx))),
      ),
    );
  },
});
