// The sub-layers of residual layers: a mixer, cross attention and a feed-forward, each with a norm and a residual connection.
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

/** The optional sub-layers, and one norm for each that exists, in this order. */
interface Parts {
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
/** The config that the norm after it inherits. */
export const normAfter = (parts: Parts, index: number) => ({ dim: widths(parts)[index]?.to ?? parts.dim });

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

/** How a style adds a sub-layer. */
export interface Style {
  /** The position of the norm: before the sub-layer, or after the sum. */
  readonly norm: 'before' | 'after';
  readonly scale: number;
  readonly branchScale: number;
  /** A shortcut has a bias. */
  readonly shortcutBias: boolean;
  /** The norm of the cross attention also normalises the memory. */
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
 *     norm after    y = norm(scale · S x + branchScale · f(x))      S: the linear shortcut if f changes the number of channels, otherwise 1
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
  hiddenStates: norm(memory.hiddenStates),
  ...(memory.valueStates && { valueStates: norm(memory.valueStates) }),
});
