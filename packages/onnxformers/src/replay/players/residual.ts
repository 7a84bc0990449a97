// Residual styles and norms around one sub-layer, which is known only from the names of its weights.
import type { KindModule, SequenceContext, Value, WeightSource } from '@onnxformers/core';
import { reversibleStep } from '@onnxformers/residual';
import { fromXFormers, fromXFormersWeights, type XFormersConfig } from '../../import/xformers/index';
import { zoo } from '../../index';
import type { FixtureCase, Group } from '../fixture-set';
import { type Inputs, type Player, playByHand, prefixed, recorded, tensorOf } from '../play';
import { masked, maskOf } from './masks';
import { acrossTo, memoryOf } from './multi-head';

/** Properties of the sub-layer that a case does not record. */
const unsaid = { num_heads: 2, activation: 'relu' };

/** The nested wrappers of the sub-layer, from the outside: `layer` for a residual connection, `sublayer` for a norm. */
type Wrapper = 'layer' | 'sublayer';
const inner = /^((?:(?:layer|sublayer)\.)*)(mlp|in_proj_container|proj|attention)\./;

function wrappersOf(c: FixtureCase): readonly Wrapper[] {
  for (const name of c.param.keys()) {
    const found = inner.exec(name);
    if (found) return found[1]!.split('.').filter(Boolean) as Wrapper[];
  }
  throw new Error(`no sub-layer among ${[...c.param.keys()].join(', ')}`);
}

/** The weights with a prefix, without it. */
const behind = (weights: Group, prefix: string): Group =>
  new Map([...weights].filter(([name]) => name.startsWith(prefix)).map(([name, t]) => [name.slice(prefix.length), t]));

/** A part of the layer: its slot in our layer, its config, its weights. */
interface Part {
  readonly place: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly weights: WeightSource;
}

const headsOf = ({ config }: FixtureCase): number => Number(config.num_heads ?? unsaid.num_heads);
const crosses = (c: FixtureCase): boolean => c.in.has('k') || c.in.has('v');

function originalOf(c: FixtureCase, weights: Group, dim: number): XFormersConfig {
  const first = weights.get('mlp.0.weight');
  if (!first) {
    const bias = ['in_proj_container.q_proj', 'in_proj_container.k_proj', 'in_proj_container.v_proj', 'proj'].map((name) =>
      weights.has(`${name}.bias`),
    );
    return { dim_model: dim, num_heads: headsOf(c), bias, attention: { name: 'scaled_dot_product' } };
  }
  const activation = c.config.activation ?? unsaid.activation;
  return {
    name: 'MLP',
    dim_model: dim,
    activation,
    hidden_layer_multiplier: first.dims[0]! / dim,
    bias: weights.has('mlp.0.bias'),
  };
}

function subLayerOf(c: FixtureCase, prefix: string, dim: number): Part & { readonly kind: 'mixer' | 'feedforward' } {
  const own = new Map([...behind(c.param, prefix)].filter(([name]) => inner.test(name)));
  const original = originalOf(c, own, dim);
  const { kind, config } = fromXFormers(original, recorded);
  const cross = crosses(c) && { cross: true };
  const place = kind === 'feedforward' ? 'feedforward' : cross ? 'cross' : 'mixer';
  const weights = fromXFormersWeights(own, original, recorded);
  return { place, kind: kind as 'mixer' | 'feedforward', config: { ...config, ...cross }, weights };
}

const normPlaces: Readonly<Record<string, string>> = { feedforward: 'norm2', cross: 'norm_cross', mixer: 'norm1' };

function normOf(c: FixtureCase, name: string, { place }: Part, dim: number): Part {
  const weights = behind(c.param, `${name}.`);
  const config = weights.size ? { name: 'layer_norm', dim, eps: 1e-5 } : { name: 'identity' };
  return { place: normPlaces[place]!, config, weights };
}

/** Residual, PreNorm, PostNorm and their combinations. */
export const wrapped: Player = (c) => {
  const dim = tensorOf(c.in, 'x').dims.at(-1)!;
  const wrappers = wrappersOf(c);
  const residual = wrappers.includes('layer');
  const before = wrappers.length > 1 ? wrappers[0] === 'layer' : c.block === 'PreNorm';
  const subLayer = subLayerOf(c, wrappers.map((w) => `${w}.`).join(''), dim);
  const norm = normOf(c, before && residual ? 'layer.norm' : 'norm', subLayer, dim);
  const contextFor = (inputs: Inputs, ctx: SequenceContext, rows: (x: Value) => Value = (x) => x): SequenceContext => {
    const { x, k = x, v = k } = inputs;
    const [batch, seq] = x!.dims as [number, number];
    const sizes = { batch, heads: headsOf(c), seq, kvSeq: k!.dims[1] as number };
    const seen = masked(ctx, maskOf(inputs.att_mask, sizes, c));
    return crosses(c) ? acrossTo(ctx, memoryOf(rows(k!), rows(v!), seen)) : seen;
  };
  const feeds = Object.fromEntries(c.in);

  if (!residual) {
    const children = { norm: zoo.parse('norm', norm.config), sublayer: zoo.parse(subLayer.kind, subLayer.config) };
    const weights = new Map([...prefixed('norm.', norm.weights), ...prefixed('sublayer.', subLayer.weights)]);
    return playByHand(children, weights, feeds, (inputs, ctx) => {
      const [f, n] = [children.sublayer, children.norm];
      return { y: before ? f(n(inputs.x!), contextFor(inputs, ctx, n)) : n(f(inputs.x!, contextFor(inputs, ctx))) };
    });
  }
  const style = styleOf(c, before || !wrappers.includes('sublayer'));
  const layer = zoo.parse('layer', { ...style, dim, norm: norm.config, [subLayer.place]: subLayer.config });
  const weights = new Map([norm, subLayer].flatMap((part) => [...prefixed(`layer.${part.place}.`, part.weights)]));
  return playByHand({ layer }, weights, feeds, (inputs, ctx) => ({ y: layer(inputs.x!, contextFor(inputs, ctx)) }));
};

// Without a norm, all styles are equal.
function styleOf({ config }: FixtureCase, before: boolean): object {
  const scale = Number(config.scale ?? 1);
  if (before) return { name: 'pre_norm', scale, normMemory: true };
  return config.style === 'deepnorm' ? { name: 'deep_norm', depth: 1, alpha: scale } : { name: 'post_norm', scale };
}

/** Reversible steps on two halves of the channels. */
export const reversible: Player = (c) => {
  const dim = tensorOf(c.in, 'x').dims.at(-1)! / 2;
  const depth = Number(c.config.depth);
  const normed = c.config.f !== 'mlp';
  const sides = Array.from({ length: depth }, (_, i) => ['f', 'g'].map((side) => `blocks.${i}.${side}.net.`)).flat();
  const parts = sides.map((prefix) => {
    const own = behind(c.param, prefix);
    const subLayer = subLayerOf({ ...c, param: own }, normed ? 'sublayer.' : '', dim);
    const norm = normed ? normOf({ ...c, param: own }, 'norm', subLayer, dim) : undefined;
    return { subLayer, norm };
  });
  const children = Object.fromEntries(
    parts.flatMap(({ subLayer, norm }, i) => [
      [`sub${i}`, zoo.parse(subLayer.kind, subLayer.config)] as const,
      ...(norm ? [[`norm${i}`, zoo.parse('norm', norm.config)] as const] : []),
    ]),
  );
  const weights = new Map(
    parts.flatMap(({ subLayer, norm }, i) => [
      ...prefixed(`sub${i}.`, subLayer.weights),
      ...(norm ? prefixed(`norm${i}.`, norm.weights) : []),
    ]),
  );
  return playByHand(children, weights, Object.fromEntries(c.in), ({ x }, ctx) => {
    const branch = (i: number) => (h: Value) => {
      const block = children[`sub${i}`] as KindModule<'mixer'>;
      return block(normed ? (children[`norm${i}`] as KindModule<'norm'>)(h) : h, ctx);
    };
    return {
      y: Array.from({ length: depth }).reduce<Value>((h, _, i) => reversibleStep(h, branch(2 * i), branch(2 * i + 1)), x!),
    };
  });
};

/** A norm with the epsilon of the fused kernel. */
export const fusedLayerNorm: Player = (c) => {
  const eps = c.config.use_triton ? 1e-6 : 1e-5;
  const norm = zoo.build('norm', { name: 'layer_norm', dim: Number(c.config.d_norm), eps });
  return playByHand({ norm }, c.param, Object.fromEntries(c.in), ({ x }) => ({ y: norm(x!) }));
};
