// The sub-layers of residual layers: a mixer, cross attention and a feed-forward, each with a norm and a residual connection.
import {
  bool,
  ConfigError,
  init,
  type KindModule,
  linear,
  type Memory,
  type Module,
  module,
  num,
  Parameter,
  type SequenceContext,
  slot,
  type Value,
  withContext,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';
import { stochasticDepth } from './stochastic-depth';

const places = ['mixer', 'cross', 'feedforward'] as const;
type PlaceName = (typeof places)[number];
const normNames = { mixer: 'norm1', cross: 'norm_cross', feedforward: 'norm2' } as const;
const resultNormNames = { mixer: 'result_norm1', cross: 'result_norm_cross', feedforward: 'result_norm2' } as const;

/** The optional sub-layers, and one norm for each that exists, in this order. */
export interface Parts {
  readonly dim: number;
  readonly mixer?: KindModule<'mixer'> | undefined;
  readonly cross?: KindModule<'mixer'> | undefined;
  readonly feedforward?: KindModule<'feedforward'> | undefined;
}

/** Number of channels before and after each sub-layer that exists. */
function widths(parts: Parts): readonly { readonly place: PlaceName; readonly from: number; readonly to: number }[] {
  let from = parts.dim;
  return places.flatMap((place) => {
    const block = parts[place];
    if (!block) return [];
    const told = block.about.config?.outDim;
    const step = { place, from, to: typeof told === 'number' ? told : from };
    from = step.to;
    return [step];
  });
}
const widthSoFar = (parts: Parts): { readonly dim: number } => ({ dim: widths(parts).at(-1)?.to ?? parts.dim });
/** The config that the norm before a sub-layer inherits. */
export const normBefore = (parts: Parts, index: number) => ({ dim: widths(parts)[index]?.from ?? parts.dim });
/** The config that the norm after it inherits, which is also that of its result. */
export const normAfter = (parts: Parts, index: number) => ({ dim: widths(parts)[index]?.to ?? parts.dim });
/** The config that norms before and after sub-layers inherit, in turn. */
export const normAround = (parts: Parts, index: number) => (index % 2 ? normAfter : normBefore)(parts, Math.floor(index / 2));

/** The slots that all styles share. The norm of a style is declared after them, because it depends on their widths. */
export const subLayerFields = {
  /** the mixer, which mixes positions. Optional. */
  mixer: slot('mixer', { doc: 'the mixer, which mixes positions', optional: true }),
  /** cross attention to the memory. Optional. */
  cross: slot('mixer', { doc: 'cross attention to the memory', optional: true, inside: widthSoFar }),
  /** the feed-forward, which mixes channels. Optional. */
  feedforward: slot('feedforward', { doc: 'the feed-forward, which mixes channels', optional: true, inside: widthSoFar }),
} as const;
/** The option of residual connections that change the number of channels. */
export const shortcutFields = {
  /** the linear shortcut of a sub-layer that changes the number of channels has a bias. Default: `false`. */
  shortcutBias: bool({
    doc: 'the linear shortcut of a sub-layer that changes the number of channels has a bias',
    default: false,
  }),
} as const;
/** Factors of sub-layers and of residual connections. */
export const scaleFields = {
  /** factor of the residual connection. Default: `1`. */
  scale: num({ doc: 'factor of the residual connection', default: 1 }),
  /** factor of the output of a sub-layer. Default: `1`. */
  branchScale: num({ doc: 'factor of the output of a sub-layer', default: 1 }),
} as const;

/** What is done to the result of each sub-layer before it is added. */
export const branchFields = {
  /** initial value of learned factors of the channels of a sub-layer's result (LayerScale); absent: no factors. Optional. */
  layerScale: num({
    doc: "initial value of learned factors of the channels of a sub-layer's result (LayerScale); absent: no factors",
    optional: true,
  }),
  /** probability that a sub-layer is left out in training, for a whole sequence (stochastic depth). Default: `0`. */
  stochasticDepth: num({
    doc: 'probability that a sub-layer is left out in training, for a whole sequence (stochastic depth)',
    min: 0,
    max: 0.99,
    default: 0,
  }),
} as const;

/** How the results of sub-layers are added. */
export interface Sums {
  readonly scale: number;
  readonly branchScale: number;
  /** Initial value of learned factors. */
  readonly layerScale?: number | undefined;
  /** One learned factor for all channels instead of one for each. */
  readonly oneFactor?: boolean;
  readonly stochasticDepth?: number;
  /** A shortcut has a bias. */
  readonly shortcutBias?: boolean;
}

/** The norm of a sub-layer by its index among those that exist. */
type Norms = (index: number) => KindModule<'norm'>;

/** How a style adds a sub-layer. */
export interface Style extends Sums {
  /** The norms before sub-layers. */
  readonly before?: Norms | undefined;
  /** The norms of their results, before these are added. */
  readonly result?: Norms | undefined;
  /** The norms of the sums. */
  readonly after?: Norms | undefined;
  /** The norm of the cross attention also normalises the memory. */
  readonly normMemory?: boolean;
  /** The residual connection carries the result of the norm before the sub-layer. */
  readonly normResidual?: boolean;
  /** See {@link Module}. */
  readonly gain?: number;
}

/** One sub-layer and what belongs to it. */
export interface SubLayer {
  readonly place: PlaceName;
  readonly block: KindModule<'mixer'> | KindModule<'feedforward'>;
  readonly before: KindModule<'norm'> | undefined;
  readonly result: KindModule<'norm'> | undefined;
  readonly after: KindModule<'norm'> | undefined;
  readonly factor: Module<(x: Value) => Value> | undefined;
  readonly shortcut: Module<(x: Value) => Value> | undefined;
}

/**
 * The sub-layers that exist, with their norms, factors and shortcuts.
 *
 * Throws   ConfigError if there are none
 */
export function subLayersOf(parts: Parts, style: Style, path: string): readonly SubLayer[] {
  const subLayers = widths(parts).map(
    ({ place, from, to }, index): SubLayer => ({
      place,
      block: parts[place]!,
      before: style.before?.(index),
      result: style.result?.(index),
      after: style.after?.(index),
      factor: style.layerScale === undefined ? undefined : factors(style.oneFactor ? 1 : to, style.layerScale),
      shortcut: from === to ? undefined : linear(from, to, { bias: style.shortcutBias ?? false, role: 'shortcut' }),
    }),
  );
  if (subLayers.length) return subLayers;
  throw new ConfigError({ path, problem: 'a layer without sub-layers', expected: `one of ${places.join(', ')}`, got: 'none' });
}

function factors(count: number, start: number): Module<(x: Value) => Value> {
  const weight = new Parameter([count], init.constant(start), { role: 'scale', part: 'weight' });
  return module({ weight }, (x: Value) => ops.mul(x, x.graph.root.param(weight)));
}

/** The modules of a layer by their names. */
export function childrenOf(subLayers: readonly SubLayer[]) {
  const named = subLayers.flatMap(
    ({ place, before, result, after, block }) =>
      [
        [normNames[place], before ?? after],
        [place, block],
        [resultNormNames[place], result],
      ] as const,
  );
  const byPlace = (part: 'factor' | 'shortcut') => Object.fromEntries(subLayers.map((s) => [s.place, s[part]]));
  return { ...Object.fromEntries(named), layer_scale: byPlace('factor'), shortcut: byPlace('shortcut') };
}

/**
 * A residual layer, whose sub-layers follow each other.
 *
 *     y = after(scale · S x + branchScale · λ ⊙ result(f(before(x))))      S: the linear shortcut if f changes the number of channels, otherwise 1
 *
 * Norms and factors λ that the style does not have are left out.
 *
 * Throws   ConfigError for a layer without sub-layers
 */
export function residualLayer(parts: Parts, style: Style, path: string) {
  const subLayers = subLayersOf(parts, style, path);
  const forward = (x: Value, ctx: SequenceContext) => subLayers.reduce((h, subLayer) => step(h, ctx, subLayer, style), x);
  return module(childrenOf(subLayers), forward, style.gain === undefined ? {} : { gain: style.gain });
}

function step(x: Value, ctx: SequenceContext, subLayer: SubLayer, style: Style): Value {
  const { place, before, after, shortcut } = subLayer;
  const memory = place === 'cross' && style.normMemory && before ? ctx.memory : undefined;
  const own = memory ? withContext(ctx, { memory: normed(memory, before!) }) : ctx;
  const read = before ? before(x) : x;
  const carried = style.normResidual ? read : x;
  const sum = ops.add(ops.mul(shortcut ? shortcut(carried) : carried, style.scale), branch(read, own, subLayer, style));
  return after ? after(sum) : sum;
}

/** What a sub-layer adds. */
export function branch(x: Value, ctx: SequenceContext, { block, result, factor }: SubLayer, o: Sums): Value {
  const y = block(x, ctx);
  const normed = result ? result(y) : y;
  const scaled = ops.mul(factor ? factor(normed) : normed, o.branchScale);
  return stochasticDepth(scaled, o.stochasticDepth ?? 0, ctx);
}

const normed = (memory: Memory, norm: KindModule<'norm'>): Memory => ({
  ...memory,
  hiddenStates: norm(memory.hiddenStates),
  ...(memory.valueStates && { valueStates: norm(memory.valueStates) }),
});
