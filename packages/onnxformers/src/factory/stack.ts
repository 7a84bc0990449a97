// A sequence of layers.
import {
  bool,
  ConfigError,
  contextOfHiddenStates,
  defineBlock,
  each,
  type HiddenStates,
  int,
  type KindModule,
  keepContext,
  linear,
  list,
  module,
  type SequenceContext,
  ShapeError,
  slot,
  type Value,
} from '@onnxformers/core';
import { longestSequence } from './backbone';
import { withBiasesOf } from './tied-biases';

/**
 * A sequence of layers, with an optional norm after the last one, which pre-norm layers need.
 *
 *     y = norm(layer_depth(… layer_1(x)))      with a projection: W norm(…), W [outDim, dim]
 *
 * With `repeats` layers run several times with the same weights (ALBERT): each group of `groupSize` layers runs as a whole, then again, before the next group.
 *
 * A layer may change the number of channels, and `merge_patches` that of positions too: a hierarchical model is a list of layers with patches between
 * its stages. Each layer with other channels than the first then states its `dim`, and the stack the last number as `outDim`.
 *
 * A `pattern` repeats a short list: with `[0, 0, 1]` two layers of the first config are followed by one of the second, as often as depth asks. So
 * layers of one stack differ in mixer, window or rotary embedding.
 *
 * Shapes   x [batch, seq, dim], packed [tokens, dim] → [..., outDim]
 * Dtypes   float32, float16, bfloat16
 * Cost     the sum of those of its layers; memory that of one layer
 * Throws   ConfigError when a list of layers is shorter or longer than depth, for a pattern that is empty or does not fit the list, when groupSize does
 *          not divide depth, and for sharedBias without attention biases or with biases of different dims · ShapeError when the last layer does not
 *          return outDim channels
 * Lowers   as its layers
 * Example  const block = zoo.build('stack', { name: 'stack', dim: 512, depth: 12, layers: { name: 'pre_norm', feedforward: 'mlp' } });
 */
export const stack = defineBlock({
  kind: 'stack',
  name: 'stack',
  summary: 'A sequence of layers.',
  fields: {
    /** channels. Inherited from the enclosing block. */
    dim: int({ doc: 'channels', unit: 'channels', min: 1, inherit: true }),
    /** channels after the last layer, if layers change them. Default: computed from other options. */
    outDim: int({
      doc: 'channels after the last layer, if layers change them',
      unit: 'channels',
      min: 1,
      default: (c: { dim: number }) => c.dim,
    }),
    /** longest sequence; inherited by embeddings, positions and mechanisms of fixed length inside. Inherited from the enclosing block. */
    seqLen: longestSequence,
    /** number of layers. Inherited from the enclosing block. */
    depth: int({ doc: 'number of layers', min: 0, max: 10_000, inherit: true }),
    /** the entry of the list of layers that each layer has, from 0, repeated over the depth; absent: one entry for each. Optional. */
    pattern: list(int({ doc: 'index of an entry', min: 0 }), {
      doc: 'the entry of the list of layers that each layer has, from 0, repeated over the depth; absent: one entry for each',
      optional: true,
    }),
    /** how often each group of layers runs, with the same weights. Default: `1`. */
    repeats: int({ doc: 'how often each group of layers runs, with the same weights', min: 1, max: 10_000, default: 1 }),
    /** layers of a group. Default: `1`. */
    groupSize: int({ doc: 'layers of a group', min: 1, max: 10_000, default: 1 }),
    /** the attention biases of all layers have the weights of the first layer. Default: `false`. */
    sharedBias: bool({ doc: 'the attention biases of all layers have the weights of the first layer', default: false }),
    /** one config for all layers, or a list of them. */
    layers: each('layer', {
      doc: 'one config for all layers, or a list of them',
      pattern: ({ pattern }: { pattern?: readonly number[] }, layer) => pattern?.[layer % pattern.length],
    }),
    /** a linear map without a bias makes outDim channels of dim, after the norm. Default: `false`. */
    projection: bool({ doc: 'a linear map without a bias makes outDim channels of dim, after the norm', default: false }),
    /** norm after the last layer. Optional. */
    norm: slot('norm', {
      doc: 'norm after the last layer',
      optional: true,
      inside: (c: { dim: number; outDim: number; projection: boolean }) => ({ dim: c.projection ? c.dim : c.outDim }),
    }),
  },
  examples: [
    {
      dim: 12,
      depth: 2,
      layers: { name: 'pre_norm', mixer: { name: 'multi_head', heads: 3 }, feedforward: 'mlp' },
      norm: 'layer_norm',
    },
    {
      dim: 12,
      depth: 2,
      layers: [
        { name: 'pre_norm', mixer: { name: 'multi_head', heads: 2 } },
        { name: 'post_norm', feedforward: 'mlp' },
      ],
    },
    {
      dim: 12,
      depth: 5,
      pattern: [0, 1],
      layers: [
        {
          name: 'sandwich_norm',
          mixer: {
            name: 'multi_head',
            heads: 2,
            rotaryEmbedding: { name: 'rotary', theta: 100 },
            attention: { name: 'local', window: 3 },
          },
        },
        { name: 'parallel', mixer: { name: 'multi_head', heads: 3, rotaryEmbedding: 'rotary' }, feedforward: 'mlp' },
      ],
    },
    { dim: 12, depth: 2, repeats: 2, layers: { name: 'pre_norm', mixer: { name: 'multi_head', heads: 3 }, feedforward: 'mlp' } },
    {
      dim: 12,
      depth: 2,
      sharedBias: true,
      layers: { name: 'pre_norm', mixer: { name: 'multi_head', heads: 3, attentionBias: 't5_relative' } },
    },
  ],
  create({ dim, depth, layers, norm, outDim, projection, pattern, repeats, groupSize, sharedBias }, { path }) {
    if (pattern && pattern.length === 0)
      throw new ConfigError({ path: `${path}.pattern`, problem: 'an empty pattern', expected: 'one entry or more', got: '[]' });
    if (depth % groupSize)
      throw new ConfigError({
        path: `${path}.groupSize`,
        problem: 'the layers cannot be divided into groups',
        expected: `a divisor of depth = ${depth}`,
        got: String(groupSize),
      });
    const [first, ...rest] = Array.from({ length: depth }, (_, i) => layers(i));
    const all = first ? [first, ...(sharedBias ? rest.map((layer) => withBiasesOf(first, layer, path)) : rest)] : [];
    const order = Array.from({ length: depth * repeats }, (_, step) => {
      const group = Math.floor(step / (groupSize * repeats));
      return all[group * groupSize + (step % groupSize)]!;
    });
    const projected = projection ? linear(dim, outDim, { bias: false, role: 'projection' }) : undefined;
    return module({ layers: all, norm, projection: projected }, (x: Value, ctx: SequenceContext) => {
      const { hiddenStates: rows, ctx: last } = order.reduce((h, layer) => runLayer(layer, h), { hiddenStates: x, ctx });
      if (rows.dims.at(-1) !== (projection ? dim : outDim))
        throw new ShapeError({
          path: `${path}.outDim`,
          problem: 'the last layer returns another number of channels',
          expected: String(projection ? dim : outDim),
          got: String(rows.dims.at(-1)),
          hint: 'Set outDim of the stack to the channels of its last layer',
        });
      const normed = norm ? norm(rows) : rows;
      const y = projected ? projected(normed) : normed;
      return last === ctx ? y : keepContext({ hiddenStates: y, ctx: last });
    });
  },
});

// A layer that changes the number of positions keeps the context of its result.
function runLayer(layer: KindModule<'layer'>, { hiddenStates: x, ctx }: HiddenStates): HiddenStates {
  const y = layer(x, ctx);
  const kept = y === x ? undefined : contextOfHiddenStates(y);
  return { hiddenStates: y, ctx: kept ?? ctx };
}
