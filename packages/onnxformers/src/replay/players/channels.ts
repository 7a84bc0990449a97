// Feed-forwards, activations, positions, rotation.
import {
  auxiliaryLoss,
  hiddenStatesOf,
  type Kind,
  type KindModule,
  padded,
  positionsWithin,
  type Tensor,
  tensor,
  type Value,
  withContext,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { fromXFormers } from '../../import/xformers/index';
import { zoo } from '../../index';
import { build, type Player, playOf, recorded, tensorOf, weightsOf, withDims } from '../play';

/** A feed-forward on x. */
export const feedforward: Player = (c) =>
  playOf(build('feedforward', c.config, weightsOf(c)), Object.fromEntries(c.in), (block, { x }, ctx) => ({ y: block(x!, ctx) }));

/** A mixture of experts and its auxiliary loss, with the recorded noise. */
export const mixtureOfExperts: Player = (c) => {
  const x = tensorOf(c.in, 'x');
  const play = playOf(build('feedforward', c.config, weightsOf(c)), { x }, (block, inputs, ctx) => {
    const y = block(inputs.x!, ctx);
    return { y, l_aux: ops.reshape(auxiliaryLoss(ctx) ?? y.graph.root.number(0, 'float32'), [1]) };
  });
  const noise = c.state.get('gumbel');
  return noise ? { ...play, draws: { 'block.gumbel': uniformOf(noise, x.dims) } } : play;
};

// The uniform numbers behind Gumbel noise, which the record has for tokens in the order [seq, batch].
function uniformOf({ data }: Tensor, [batch, seq]: readonly number[]): Tensor {
  const experts = data.length / (batch! * seq!);
  const uniform = Array.from({ length: data.length }, (_, i) => {
    const [row, expert] = [Math.floor(i / experts), i % experts];
    const recorded = Number(data[((row % seq!) * batch! + Math.floor(row / seq!)) * experts + expert]);
    return Math.exp(-Math.exp(-recorded));
  });
  return tensor('float32', [batch!, seq!, experts], uniform);
}

/** An activation on x. */
export const activation: Player = (c) =>
  playOf(build('activation', c.config, weightsOf(c)), Object.fromEntries(c.in), (block, { x }) => ({ y: block(x!) }));

/** Numbers [batch, seq] as one channel each, to which positions are broadcast. */
export const asRows = (t: Tensor): Tensor => (t.dims.length === 2 && t.dtype !== 'int64' ? withDims(t, [...t.dims, 1]) : t);

/** An embedding of ids, or an encoding that is added. */
export const position: Player = (c) => {
  const { kind } = fromXFormers(c.config, recorded);
  const built = build(kind as Kind, c.config, weightsOf(c));
  return playOf(built, { x: asRows(tensorOf(c.in, 'x')) }, (block, { x }, ctx) => ({
    y: hiddenStatesOf((block as KindModule<'position'>)(x!, ctx), x!, ctx).hiddenStates,
  }));
};

/** Rotary embedding of q and k [batch, heads, seq, head_dim]; its table is not a weight here. */
export const rotaryEmbedding: Player = (c) => {
  const block = zoo.build('rotaryEmbedding', { name: 'rotary', dim: Number(c.config.dim_model) });
  return playOf({ block, weights: new Map() }, Object.fromEntries(c.in), (turn, { q, k }, ctx) => {
    // Queries and keys are both counted from 0, also if their numbers differ.
    const counted = (x: Value) =>
      withContext(ctx, { positions: positionsWithin(padded, [x.dims[0]!, x.dims[2]!], x.graph.root) });
    return { q_rot: turn(q!, q!, counted(q!))[0], k_rot: turn(k!, k!, counted(k!))[1] };
  });
};

/** A patch embedding of an image, or of a sequence, as a square image row by row. */
export const patchEmbedding: Player = (c) => {
  const x = tensorOf(c.in, 'x');
  if (x.dims.length === 4)
    return playOf(build('embedding', c.config, weightsOf(c)), { x }, (block, { x: pixels }, ctx) => ({
      y: hiddenStatesOf(block(pixels!, ctx), pixels!, ctx).hiddenStates,
    }));
  const built = build('layer', c.config, weightsOf(c), recorded, ({ inChannels, dim, ...rest }) => ({
    ...rest,
    name: 'merge_patches',
    dim: inChannels,
    outDim: dim,
  }));
  return playOf(built, { x }, (block, { x: rows }, ctx) => ({ y: block(rows!, ctx) }));
};

/** Simplicial embeddings of x. */
export const simplicialEmbedding: Player = (c) => {
  const x = tensorOf(c.in, 'x');
  const built = build('norm', c.config, weightsOf(c), recorded, (ours) => ({ ...ours, dim: x.dims.at(-1) }));
  return playOf(built, { x }, (block, inputs) => ({ y: block(inputs.x!) }));
};
