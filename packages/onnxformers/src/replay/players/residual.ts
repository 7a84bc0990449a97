// Residual styles and norms around one sub-layer, which only the names of its weights tell.
import type { Tensor, Value } from '@onnxformers/core';
import { zoo } from '../../index';
import { fromXFormers, fromXFormersWeights, type XFormersConfig } from '../../xformers/index';
import type { FixtureCase } from '../fixture-set';
import { type Player, playByHand, prefixed, recorded, tensorOf } from '../play';
import { masked, maskOf } from './masks';
import { acrossTo, memoryOf } from './multi-head';

// The records leave unsaid how many heads the sub-layer has, and which activation.
const [heads, activation] = [2, 'relu'];

/** How the sub-layer is wrapped, from the outside: `layer` for a residual, `sublayer` for a norm. */
type Wrapper = 'layer' | 'sublayer';
const inner = /^((?:(?:layer|sublayer)\.)*)(mlp|in_proj_container|proj|attention)\./;

function wrappersOf(c: FixtureCase): readonly Wrapper[] {
  for (const name of c.param.keys()) {
    const found = inner.exec(name);
    if (found) return found[1]!.split('.').filter(Boolean) as Wrapper[];
  }
  throw new Error(`no sub-layer among ${[...c.param.keys()].join(', ')}`);
}

function subLayerConfig(c: FixtureCase, prefix: string, dim: number): XFormersConfig {
  const first = c.param.get(`${prefix}mlp.0.weight`);
  if (first)
    return {
      name: 'MLP',
      dim_model: dim,
      activation,
      hidden_layer_multiplier: first.dims[0]! / dim,
      bias: c.param.has(`${prefix}mlp.0.bias`),
    };
  return { dim_model: dim, num_heads: heads, attention: { name: 'scaled_dot_product' } };
}

/** Residual, PreNorm, PostNorm and what they are nested to. */
export const wrapped: Player = (c) => {
  const dim = tensorOf(c.in, 'x').dims.at(-1)!;
  const wrappers = wrappersOf(c);
  const prefix = wrappers.map((w) => `${w}.`).join('');
  const before = wrappers.length > 1 ? wrappers[0] === 'layer' : c.block === 'PreNorm';
  const normName = before && wrappers.includes('layer') ? 'layer.norm' : 'norm';
  const hasNorm = c.param.has(`${normName}.weight`);
  const norm = hasNorm ? { name: 'layer_norm', eps: 1e-5 } : { name: 'identity' };

  const original = subLayerConfig(c, prefix, dim);
  const { kind, config } = fromXFormers(original, recorded);
  const own = new Map(
    [...c.param]
      .filter(([name]) => name.startsWith(prefix) && inner.test(name))
      .map(([name, t]) => [name.slice(prefix.length), t]),
  );
  const subLayer = fromXFormersWeights(own, original, recorded);
  const normWeights = new Map(
    [...c.param].filter(([name]) => name.startsWith(`${normName}.`)).map(([name, t]) => [name.slice(normName.length + 1), t]),
  );

  const cross = c.in.has('k') || c.in.has('v');
  const place = kind === 'feedforward' ? 'feedforward' : cross ? 'cross' : 'mixer';
  const normPlace = { feedforward: 'norm2', cross: 'norm_cross', mixer: 'norm1' }[place];
  const inside = { ...config, ...(cross && { cross }) };
  const contextOf = (inputs: Readonly<Record<string, Value>>, ctx: Parameters<typeof masked>[0]) => {
    const { x, k = x, v = k } = inputs;
    const [batch, seq] = x!.dims as [number, number];
    const seen = masked(ctx, maskOf(inputs.att_mask, { batch, heads, seq, kvSeq: k!.dims[1] as number }, c));
    return cross ? acrossTo(ctx, memoryOf(k!, v!, seen)) : seen;
  };
  const feeds = Object.fromEntries(c.in) as Record<string, Tensor>;

  if (!wrappers.includes('layer')) {
    const [normModule, sub] = [
      zoo.parse('norm', { ...norm, ...(hasNorm && { dim }) }),
      zoo.parse(kind as 'mixer' | 'feedforward', inside),
    ];
    const weights = new Map([...prefixed('norm.', normWeights), ...prefixed('sublayer.', subLayer)]);
    return playByHand({ norm: normModule, sublayer: sub }, weights, feeds, (inputs, ctx) => {
      const at = contextOf(inputs, ctx);
      return { y: before ? sub(normModule(inputs.x!), at) : normModule(sub(inputs.x!, at)) };
    });
  }
  const scale = Number(c.config.scale ?? 1);
  const style =
    before || !wrappers.includes('sublayer')
      ? { name: 'pre_norm', scale, normMemory: true }
      : c.config.style === 'deepnorm'
        ? { name: 'deep_norm', depth: 1, alpha: scale }
        : { name: 'post_norm', scale };
  const layer = zoo.parse('layer', { ...style, dim, norm, [place]: inside });
  const weights = new Map([...prefixed(`layer.${normPlace}.`, normWeights), ...prefixed(`layer.${place}.`, subLayer)]);
  return playByHand({ layer }, weights, feeds, (inputs, ctx) => ({ y: layer(inputs.x!, contextOf(inputs, ctx)) }));
};

/** A norm with the epsilon of the fused kernel. */
export const fusedLayerNorm: Player = (c) => {
  const norm = zoo.build('norm', { name: 'layer_norm', dim: Number(c.config.d_norm), eps: c.config.use_triton ? 1e-6 : 1e-5 });
  return playByHand({ norm }, c.param, Object.fromEntries(c.in), ({ x }) => ({ y: norm(x!) }));
};
