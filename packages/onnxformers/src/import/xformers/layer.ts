// One layer of an encoder or decoder stack of the original.
import { ConfigError } from '@onnxformers/core';
import { optionsOf } from '../options';
import { type OurConfig, plain, renamed, type Translated, together, under } from '../translated';
import { isCausal, mixesQueries } from './attention';
import { feedforwardFrom } from './feedforward';
import { multiHeadFrom } from './multi-head';
import type { XFormersConfig, XFormersOptions } from './options';
import { patchFrom } from './patch';
import { positionFrom } from './position';

const styles = ['pre', 'post', 'deepnorm'] as const;
/** An encoder reads one sequence; a decoder attends to a memory too. */
export type Role = 'encoder' | 'decoder';

/** One parsed block config of the original. */
export interface StackSpec {
  readonly path: string;
  readonly role: Role;
  readonly dim: number;
  readonly layers: number;
  readonly style: (typeof styles)[number];
  readonly norm: OurConfig;
  /** The norm after the last layer, for the pre style. */
  readonly finalNorm: OurConfig;
  readonly mixer: Translated;
  readonly cross: Translated | undefined;
  readonly feedforward: Translated;
  readonly position: Translated | undefined;
  /** The embedding of an image, before the positions. */
  readonly patch: Translated<'embedding'> | undefined;
  /** Simplicial embeddings after the last layer. */
  readonly simplicial: OurConfig | undefined;
  /** Positions do not depend on later ones. */
  readonly causal: boolean;
  /** Layers on two copies of the hidden states. */
  readonly reversible: boolean;
}

const needsTriton = (config: unknown): boolean => JSON.stringify(config).match(/"name":"(FusedMLP|blocksparse)"/) !== null;

/** Throws   ConfigError for wrong, missing or unknown options */
export function stackFrom(given: XFormersConfig, path: string, options: XFormersOptions, whole: unknown = given): StackSpec {
  const o = optionsOf(given, path);
  const role = o.word('block_type', ['encoder', 'decoder']);
  const dim = o.int('dim_model');
  const style = o.word('residual_norm_style', styles, 'post');
  const triton = options.triton ?? needsTriton(whole);
  const fused = o.bool('use_triton', true) && triton;
  const layerNorm = (byTriton: boolean): OurConfig => ({ name: 'layer_norm', eps: byTriton ? 1e-6 : 1e-5 });
  const skip = o.word('normalization', ['layernorm', 'skip'], 'layernorm') === 'skip';
  const norm = skip ? { name: 'identity' } : layerNorm(fused);
  const decoder = role === 'decoder';
  const head = (option: string, cross: boolean) => multiHeadFrom(o.config(option), `${path}.${option}`, options, dim, cross);
  const mixer = head(decoder ? 'multi_head_config_masked' : 'multi_head_config', false);
  const cross = decoder ? head('multi_head_config_cross', true) : undefined;
  const feedforward = feedforwardFrom(o.config('feedforward_config'), `${path}.feedforward_config`, options, dim);
  const position =
    o.any('position_encoding_config') === undefined
      ? undefined
      : positionFrom(o.config('position_encoding_config'), `${path}.position_encoding_config`, dim);
  const patch =
    decoder || o.any('patch_embedding_config') === undefined
      ? undefined
      : patchFrom(o.config('patch_embedding_config'), `${path}.patch_embedding_config`, dim);
  if (patch) checkPatch(patch, position, dim, path);
  const spec: StackSpec = {
    path,
    role,
    dim,
    style,
    norm,
    mixer,
    cross,
    feedforward,
    position,
    patch,
    // The original's decoder ignores normalization and use_triton here; its encoder does not.
    finalNorm: decoder && options.compat ? layerNorm(triton) : norm,
    simplicial:
      decoder || o.any('simplicial_embeddings') === undefined
        ? undefined
        : simplicialFrom(o.config('simplicial_embeddings'), `${path}.simplicial_embeddings`).config,
    layers: o.int('num_layers', { default: 1 }),
    causal: isCausal(attentionOf(mixer)) && !(cross && mixesQueries(attentionOf(cross))),
    reversible: o.bool('reversible', false),
  };
  o.any('layer_position');
  o.finish();
  for (const { option, config } of [
    { option: 'multi_head_config', config: mixer.config },
    { option: 'feedforward_config', config: feedforward.config },
  ]) {
    if (config.dim === dim) continue;
    throw new ConfigError({
      path: `${path}.${option}.dim_model`,
      problem: 'differs from dim_model of the block',
      expected: String(dim),
      got: String(config.dim),
    });
  }
  return spec;
}

const attentionOf = (mixer: Translated): Translated => ({
  ...mixer,
  config: (mixer.config.attention as OurConfig | undefined) ?? mixer.config,
});

// Patches are embedded before positions are added.
function checkPatch({ config }: Translated, position: Translated | undefined, dim: number, path: string): void {
  if (position?.kind === 'embedding')
    throw new ConfigError({
      path: `${path}.position_encoding_config`,
      problem: 'the encoding embeds ids, but patches are vectors',
      expected: 'learnable, sine, or none',
      got: String(position.config.name),
    });
  const width = position?.config.dim ?? dim;
  if (config.dim === width) return;
  throw new ConfigError({
    path: `${path}.patch_embedding_config.out_channels`,
    problem: `differs from dim_model of the ${position ? 'positions' : 'block'}`,
    expected: String(width),
    got: String(config.dim),
  });
}

/** Simplicial embeddings: `{ L, temperature }`. */
export function simplicialFrom(given: XFormersConfig, path: string): Translated<'norm'> {
  const o = optionsOf(given, path);
  const config = { name: 'simplicial', groups: o.int('L'), temperature: o.num('temperature', { default: 1 }) };
  o.finish();
  return plain('norm', config);
}

/** Layers of ours that correspond to one of the original: two for a decoder layer with input masks, otherwise one. */
export type LayerFrom = readonly Pick<Translated, 'config' | 'names' | 'unused' | 'added'>[];

/**
 * A layer of a stack.
 *
 * @param last true for the last layer, which a norm follows (pre style); it changes the names of the weights
 */
export function layerFrom(spec: StackSpec, last: boolean, options: XFormersOptions): LayerFrom {
  const { style, mixer, cross, feedforward } = spec;
  const masked = options.inputMasks === true && mixer.config.name === 'multi_head';
  const ffWeights = subLayer(style, 'wrap_ff', 'norm2', 'feedforward', feedforward, last);
  const crossPart = cross && { cross: cross.config };
  const crossWeights = cross ? [subLayer(style, 'wrap_cross', 'norm_cross', 'cross', cross)] : [];
  const ff = { feedforward: feedforward.config };
  if (!masked) {
    const weights = together(subLayer(style, 'wrap_att', 'norm1', 'mixer', mixer), ...crossWeights, ffWeights);
    return [{ config: residual(spec, { mixer: mixer.config, ...crossPart, ...ff }), ...weights }];
  }
  // Keys and values of scaled positions are those of a memory.
  const self = { ...mixer.config, cross: true };
  const selfWeights = subLayer(style, 'wrap_att', 'norm_cross', 'cross', mixer);
  const over = (parts: object) => ({ name: 'input_masked', layer: residual(spec, parts) });
  if (!cross) return [{ config: over({ cross: self, ...ff }), ...under('', 'layer.', together(selfWeights, ffWeights)) }];
  return [
    { config: over({ cross: self }), ...under('', 'layer.', selfWeights) },
    { config: residual(spec, { ...crossPart, ...ff }), ...together(...crossWeights, ffWeights) },
  ];
}

/** A reversible layer. It has no residual connections of its own, and no norm after the last one. */
export function reversibleFrom({ style, norm, mixer, feedforward }: StackSpec): LayerFrom[number] {
  const normPlace = style === 'pre' ? 'before' : 'after';
  const config = { name: 'reversible', norm, normPlace, mixer: mixer.config, feedforward: feedforward.config };
  const side = (name: string, own: string, ownNorm: string, part: Translated) =>
    together(renamed([`${name}.net.norm`, ownNorm]), under(`${name}.net.sublayer.`, `${own}.`, part));
  return { config, ...together(side('f', 'mixer', 'norm1', mixer), side('g', 'feedforward', 'norm2', feedforward)) };
}

function residual({ style, norm, layers }: StackSpec, parts: object): OurConfig {
  if (style === 'pre') return { name: 'pre_norm', norm, normMemory: true, ...parts };
  if (style === 'post') return { name: 'post_norm', norm, ...parts };
  return { name: 'deep_norm', norm, depth: layers, ...parts };
}

// The names of a sub-layer and its norm in the original's nested wrappers. Its last layer may have the names of the others.
function subLayer(style: StackSpec['style'], wrapper: string, norm: string, name: string, part: Translated, last = false) {
  if (style !== 'pre') return together(renamed([`${wrapper}.norm`, norm]), under(`${wrapper}.sublayer.layer.`, `${name}.`, part));
  const inners = last ? [`${wrapper}.sublayer.layer`, `${wrapper}.layer`] : [`${wrapper}.layer`];
  const weights = inners.map((inner) =>
    together(renamed([`${inner}.norm`, norm]), under(`${inner}.sublayer.`, `${name}.`, { ...part, added: [] })),
  );
  return together(...weights, under('', `${name}.`, { names: [], unused: [], added: part.added }));
}
