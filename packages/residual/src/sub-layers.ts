// What residual layers are made of: a mixer, cross attention and a feed-forward, each with a norm and a way around it.
import {
  bool,
  ConfigError,
  type KindModule,
  linear,
  type Memory,
  type Module,
  module,
  num,
  type SequenceContext,
  slot,
  type Value,
  withContext,
} from '@onnxformers/core';
import * as ops from '@onnxformers/core/ops';

const places = ['mixer', 'cross', 'feedforward'] as const;
type PlaceName = (typeof places)[number];
const normNames = { mixer: 'norm1', cross: 'norm_cross', feedforward: 'norm2' } as const;

/** The blocks of a layer that may be there; a norm for each that is, counted in this order. */
interface Parts {
  readonly dim: number;
  readonly mixer?: KindModule<'mixer'> | undefined;
  readonly cross?: KindModule<'mixer'> | undefined;
  readonly feedforward?: KindModule<'feedforward'> | undefined;
}

/** Channels of the stream before and behind each sub-layer that is there. */
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
/** What the norm in front of the sub-layer of that number works on. */
export const normBefore = (parts: Parts, index: number) => ({ dim: widths(parts)[index]?.from ?? parts.dim });
/** What the norm behind it works on. */
export const normBehind = (parts: Parts, index: number) => ({ dim: widths(parts)[index]?.to ?? parts.dim });

/** The slots that all styles share. The norm of a style comes behind them, since it works on what they give. */
export const subLayerFields = {
  /** the mixer, which mixes positions. May be left out. */
  mixer: slot('mixer', { doc: 'the mixer, which mixes positions', optional: true }),
  /** cross attention to the memory. May be left out. */
  cross: slot('mixer', { doc: 'cross attention to the memory', optional: true, inside: widthSoFar }),
  /** the feed-forward, which mixes channels. May be left out. */
  feedforward: slot('feedforward', { doc: 'the feed-forward, which mixes channels', optional: true, inside: widthSoFar }),
} as const;
/** Of the way around a sub-layer that changes the number of channels. */
export const shortcutFields = {
  /** the linear shortcut of a sub-layer that changes the number of channels has a bias. Default: `false`. */
  shortcutBias: bool({
    doc: 'the linear shortcut of a sub-layer that changes the number of channels has a bias',
    default: false,
  }),
} as const;
/** How branches and the way around them are weighed. */
export const scaleFields = {
  /** factor of the residual connection. Default: `1`. */
  scale: num({ doc: 'factor of the residual connection', default: 1 }),
  /** factor of the output of a sub-layer. Default: `1`. */
  branchScale: num({ doc: 'factor of the output of a sub-layer', default: 1 }),
} as const;

/** How a style joins a sub-layer to the stream. */
export interface Style {
  /** Where the norm stands: on what goes into the sub-layer, or on the sum. */
  readonly norm: 'before' | 'behind';
  readonly scale: number;
  readonly branchScale: number;
  /** A shortcut has a bias. */
  readonly shortcutBias: boolean;
  /** The norm of the cross attention works on the memory too. */
  readonly normMemory: boolean;
  /** See {@link Module}. */
  readonly gain?: number;
}

interface SubLayer {
  readonly place: PlaceName;
  readonly block: KindModule<'mixer'> | KindModule<'feedforward'>;
  readonly norm: KindModule<'norm'>;
  readonly shortcut: Module<(x: Value) => Value> | undefined;
}

/**
 * A residual layer.
 *
 *     norm before   y = scale · S x + branchScale · f(norm(x))
 *     norm behind   y = norm(scale · S x + branchScale · f(x))      S: the shortcut where f changes the number of channels, else 1
 *
 * Throws   ConfigError for a layer without sub-layers
 */
export function residualLayer(
  parts: Parts & { readonly norm: (index: number) => KindModule<'norm'> },
  style: Style,
  path: string,
) {
  const subLayers = widths(parts).map(
    ({ place, from, to }, index): SubLayer => ({
      place,
      block: parts[place]!,
      norm: parts.norm(index),
      shortcut: from === to ? undefined : linear(from, to, { bias: style.shortcutBias, role: 'shortcut' }),
    }),
  );
  if (!subLayers.length)
    throw new ConfigError({
      path,
      problem: 'a layer without sub-layers',
      expected: `one of ${places.join(', ')}`,
      got: 'none',
    });
  const blocks = subLayers.flatMap(
    ({ place, norm, block }) =>
      [
        [normNames[place], norm],
        [place, block],
      ] as const,
  );
  const shortcut = Object.fromEntries(subLayers.map(({ place, shortcut }) => [place, shortcut]));
  const forward = (x: Value, ctx: SequenceContext) => subLayers.reduce((h, subLayer) => step(h, ctx, subLayer, style), x);
  return module({ ...Object.fromEntries(blocks), shortcut }, forward, style.gain === undefined ? {} : { gain: style.gain });
}

function step(x: Value, ctx: SequenceContext, { place, block, norm, shortcut }: SubLayer, style: Style): Value {
  const before = style.norm === 'before';
  const memory = place === 'cross' && style.normMemory ? ctx.memory : undefined;
  const branch = block(before ? norm(x) : x, memory ? withContext(ctx, { memory: normed(memory, norm) }) : ctx);
  const sum = ops.add(ops.mul(shortcut ? shortcut(x) : x, style.scale), ops.mul(branch, style.branchScale));
  return before ? sum : norm(sum);
}

const normed = (memory: Memory, norm: KindModule<'norm'>): Memory => ({
  ...memory,
  rows: norm(memory.rows),
  ...(memory.valueRows && { valueRows: norm(memory.valueRows) }),
});
