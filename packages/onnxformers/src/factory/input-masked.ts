// A layer that attends to its own input with scaled positions.
import {
  type BlockInputs,
  ConfigError,
  defineBlock,
  int,
  kinds,
  module,
  type SequenceContext,
  slot,
  type Value,
  withContext,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';

const key = 'input mask';

/** Passes the input `input_mask` of a model on to its layers. */
export function shareInputMask(inputs: Readonly<Record<string, Value>>, ctx: SequenceContext): void {
  ctx.shared.get(key, () => inputs.input_mask);
}

/** The input `input_mask` of the model; undefined if it has none. */
export const inputMaskOf = (ctx: SequenceContext): Value | undefined => ctx.shared.get<Value | undefined>(key, () => undefined);

/**
 * A layer whose cross attention reads the layer's own input, each position scaled by the model's input `input_mask`. A position scaled by 0 is
 * still attended to: the softmax is not masked.
 *
 *     y = layer(x, memory: mask · x)
 *
 * Shapes   x [batch, seq, dim] → like x; input_mask [batch, seq] or [seq]; without one no position is scaled
 * Dtypes   float32, float16, bfloat16
 * Masks    those of the layer
 * Cost     that of the layer
 * Throws   ConfigError when the model keeps a state between calls
 * Source   Lefaudeux et al. 2022, https://github.com/facebookresearch/xformers (input masks of its encoder and decoder)
 * Lowers   everywhere: as the layer, with a product if there is an input mask
 * Example  const block = zoo.build('layer', { name: 'input_masked', dim: 12, layer: { name: 'pre_norm', feedforward: 'mlp' } });
 */
export const inputMasked = defineBlock({
  kind: 'layer',
  name: 'input_masked',
  summary: "A layer whose cross attention reads the layer's own input, each position scaled by the input mask.",
  source: 'Lefaudeux et al. 2022, https://github.com/facebookresearch/xformers',
  fields: {
    /** channels. Inherited from the enclosing block. */
    dim: int({ doc: 'channels', unit: 'channels', min: 1, inherit: true }),
    /** a layer with cross attention. */
    layer: slot('layer', { doc: 'a layer with cross attention' }),
  },
  inputs: (layer) => {
    const { memory: _, ...own } = kinds.layer.inputs(layer) as BlockInputs;
    return own;
  },
  examples: [
    {
      dim: 12,
      layer: { name: 'pre_norm', cross: { name: 'multi_head', heads: 3, cross: true }, normMemory: true, feedforward: 'mlp' },
    },
  ],
  create({ layer }, { path }) {
    return module({ layer }, (x: Value, ctx: SequenceContext) => {
      if (ctx.state)
        throw new ConfigError({
          path,
          problem: 'input_masked does not support a cache or another state',
          expected: 'no state',
          got: 'a state',
        });
      const scale = inputMaskOf(ctx);
      const rows = scale ? ops.mul(x, ops.unsqueeze(ops.cast(scale, x.dtype), [-1])) : x;
      return layer(
        x,
        withContext(ctx, {
          memory: {
            hiddenStates: rows,
            mask: ctx.mask,
            layout: ctx.layout,
            sameSequence: true,
            ...(ctx.bias && { bias: ctx.bias }),
          },
        }),
      );
    });
  },
});
