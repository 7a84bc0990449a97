// A fixed number of latents in place of the positions. Jaegle et al. 2021, https://arxiv.org/abs/2103.03206
import {
  ConfigError,
  type Dim,
  defineBlock,
  each,
  init,
  int,
  keepContext,
  module,
  none,
  Parameter,
  padded,
  positionsWithin,
  printMask,
  type SequenceContext,
  slot,
  type Value,
} from '@onnxformers/core';
import { expressedBy } from '@onnxformers/core/lowering';
import * as ops from '@onnxformers/core/ops';

/**
 * Perceiver latents: learned vectors take the place of the positions, which become the memory that they attend to. Layers inside, and later layers of the stack, read
 * it by cross attention; their cost does not depend on the length of the input, except that of cross attention, which is linear in it.
 *
 *     z₀ = latents      zᵢ = layerᵢ(zᵢ₋₁; memory = norm(x))      y = z_depth
 *
 * Latents have positions 0, 1, …, and no padding; padding of the input is hidden in the memory.
 *
 * Shapes   x [batch, seq, dim], packed [tokens, dim] → [batch, latents, outDim]
 * Dtypes   float32, float16, bfloat16
 * Masks    lengths, keyPadding and packed sequences
 * Cost     that of the layers at `latents` positions, with a memory of seq positions
 * Throws   ConfigError for another mask and for a state · ConfigError when a list of layers is shorter or longer than depth
 * Source   Jaegle et al. 2021, https://arxiv.org/abs/2103.03206
 * Lowers   as its layers
 * Example  const block = zoo.build('layer', {
 *            name: 'perceiver_latents', dim: 64, latents: 32,
 *            layers: { name: 'pre_norm', cross: { name: 'multi_head', heads: 4, cross: true }, feedforward: 'mlp' },
 *          });
 */
export const perceiverLatents = defineBlock({
  kind: 'layer',
  name: 'perceiver_latents',
  summary: 'Learned latents in place of the positions, which become their memory.',
  source: 'Jaegle et al. 2021, https://arxiv.org/abs/2103.03206',
  fields: {
    /** input channels. Inherited from the enclosing block. */
    dim: int({ doc: 'input channels', unit: 'channels', min: 1, inherit: true }),
    /** channels of the latents. Default: computed from other options. */
    outDim: int({ doc: 'channels of the latents', unit: 'channels', min: 1, default: (c: { dim: number }) => c.dim }),
    /** number of latents (positions). Default: `32`. */
    latents: int({ doc: 'number of latents', unit: 'positions', min: 1, default: 32 }),
    /** number of layers. Default: `1`. */
    depth: int({ doc: 'number of layers', min: 0, max: 10_000, default: 1 }),
    /** layers of the latents, with cross attention to the input: one config for all of them, or a list. */
    layers: each('layer', {
      doc: 'layers of the latents, with cross attention to the input: one config for all of them, or a list',
      inside: (c: { outDim: number; dim: number }) => ({ dim: c.outDim, memoryDim: c.dim }),
    }),
    /** norm of the input. Optional. */
    norm: slot('norm', { doc: 'norm of the input', optional: true }),
  },
  inputs: ({ about: { config } }) => ({ x: { dtype: 'float32', dims: ['batch', 'seq', config!.dim as number] } }),
  examples: [
    {
      dim: 12,
      latents: 5,
      layers: { name: 'pre_norm', cross: { name: 'multi_head', heads: 3, cross: true }, feedforward: 'mlp' },
    },
    {
      dim: 10,
      outDim: 6,
      latents: 3,
      depth: 2,
      norm: 'layer_norm',
      layers: [
        { name: 'pre_norm', cross: { name: 'multi_head', heads: 2, headDim: 3, cross: true } },
        { name: 'pre_norm', mixer: { name: 'multi_head', heads: 3, headDim: 2 }, feedforward: 'mlp' },
      ],
    },
  ],
  properties: ['batchIndependent'],
  create({ outDim, latents, depth, layers, norm }, { path }) {
    const weight = new Parameter([latents, outDim], init.normal(0.02), { role: 'embedding', part: 'weight' });
    const all = Array.from({ length: depth }, (_, i) => layers(i));
    return module({ latents: weight, layers: all, norm }, (x: Value, given: SequenceContext) => {
      const packed = given.layout.kind === 'packed' ? given.layout.asPadded(given) : undefined;
      const [rows, ctx] = packed ? [packed.pad(x), packed.ctx] : [x, given];
      refuse(ctx, path);
      const first = ops.expand(x.graph.root.param(weight), [rows.dims[0]!, latents, outDim]);
      const inside = contextOfLatents(norm ? norm(rows) : rows, latents, ctx);
      const y = all.reduce((z, layer) => layer(z, inside), first);
      return keepContext({ hiddenStates: y, ctx: inside });
    });
  },
});

function refuse({ mask, state }: SequenceContext, path: string): void {
  const { inexpressible } = expressedBy(mask, { lengths: true, keyPadding: true });
  if (!inexpressible && !state) return;
  throw new ConfigError({
    path,
    problem: 'each latent attends to the whole input',
    expected: 'whole sequences, with padding masks only',
    got: state ? 'a state' : printMask(mask),
  });
}

function contextOfLatents(rows: Value, latents: number, ctx: SequenceContext): SequenceContext {
  const { inputs, shared, mask, layout } = ctx;
  return {
    mask: none,
    layout: padded,
    memory: { hiddenStates: rows, mask, layout },
    get positions() {
      const sizes: readonly [Dim, Dim] = [rows.dims[0]!, latents];
      return shared.get(`positions of ${latents} latents of ${rows.id}`, () => positionsWithin(padded, sizes, rows.graph.root));
    },
    shared,
    ...(inputs && { inputs }),
  };
}
