// Rotary embeddings of configs, old and new.
import { checkArguments, describe } from '@onnxformers/core';
import type { ConfigReader } from '../config';
import type { BlockConfig } from '../family';

/** What a family says about its rotary embedding besides the config. */
export interface RotaryDefaults {
  /** Base of the frequencies without one in the config. Default 10000. */
  readonly theta?: number;
  /** Share of the channels that are rotated. Default 1. */
  readonly partial?: number;
  /** Channels of a head. */
  readonly headDim: number;
  /** Pairs of neighbours instead of halves. */
  readonly interleaved?: boolean;
  /** The kind of layer, where they differ: a key of `rope_parameters`. */
  readonly layerType?: string;
  /** The key of the base outside of `rope_parameters`. Default `rope_theta`. */
  readonly thetaKey?: string;
  /** `rope_scaling` of older files does not apply. */
  readonly unscaled?: boolean;
  /** Kinds that mean LongRoPE in older files. */
  readonly longrope?: readonly string[];
}

/**
 * The rotary embedding of a config: its `rope_parameters`, or `rope_theta`, `rope_scaling` and `partial_rotary_factor` as older files have them.
 *
 * Throws   ConfigError for a kind that is not known
 */
export function rotaryOf(config: ConfigReader, d: RotaryDefaults): BlockConfig {
  checkArguments('rotaryOf', { reader: config });
  const given = config.section('rope_parameters');
  const parameters = (d.layerType && given?.section(d.layerType)) || given;
  const scaling = parameters ?? (d.unscaled ? undefined : config.section('rope_scaling'));
  const at = (key: string, otherwise: number): number => {
    for (const reader of [parameters, config]) if (reader?.has(key)) return reader.num(key);
    return otherwise;
  };
  const rotaryDim = Math.floor(d.headDim * at('partial_rotary_factor', d.partial ?? 1));
  return {
    name: 'rotary',
    theta: parameters?.has('rope_theta')
      ? parameters.num('rope_theta')
      : config.num(d.thetaKey ?? 'rope_theta', d.theta ?? 10_000),
    ...(rotaryDim !== d.headDim && { rotaryDim }),
    ...(d.interleaved && { interleaved: true }),
    ...(scaling && scaled(scaling, config, d)),
  };
}

/** Kinds of scaling → their options. */
function scaled(scaling: ConfigReader, config: ConfigReader, d: RotaryDefaults): Readonly<Record<string, unknown>> {
  const key = scaling.has('rope_type') ? 'rope_type' : 'type';
  const named = scaling.text(key, 'default');
  const kind = d.longrope?.includes(named) ? 'longrope' : named;
  const most = config.has('max_position_embeddings') ? config.int('max_position_embeddings') : undefined;
  const original = (): number => {
    if (config.has('original_max_position_embeddings')) return config.int('original_max_position_embeddings');
    return scaling.int('original_max_position_embeddings', most);
  };
  switch (kind) {
    case 'default':
      return {};
    case 'linear':
      return { scaling: 'linear', factor: scaling.num('factor') };
    case 'llama3':
      return {
        scaling: 'llama3',
        factor: scaling.num('factor'),
        originalMaxPositions: original(),
        lowFreqFactor: scaling.num('low_freq_factor'),
        highFreqFactor: scaling.num('high_freq_factor'),
      };
    case 'yarn':
      return {
        scaling: 'yarn',
        factor: scaling.num('factor'),
        originalMaxPositions: original(),
        betaFast: scaling.num('beta_fast', 32),
        betaSlow: scaling.num('beta_slow', 1),
        ...(!scaling.flag('truncate', true) && { truncate: false }),
        ...(scaling.has('attention_factor') && { attentionFactor: scaling.num('attention_factor') }),
      };
    case 'dynamic':
      return { scaling: 'dynamic', factor: scaling.num('factor'), originalMaxPositions: most };
    case 'longrope':
      return {
        scaling: 'longrope',
        factor: scaling.num('factor', Math.max(1, (most ?? 1) / original())),
        originalMaxPositions: original(),
        shortFactor: scaling.list('short_factor'),
        longFactor: scaling.list('long_factor'),
        ...(scaling.has('attention_factor') && { attentionFactor: scaling.num('attention_factor') }),
      };
    default:
      throw scaling.refuse(
        key,
        `a rotary scaling that is not known: ${describe(kind)}`,
        'default, linear, dynamic, llama3, yarn, longrope',
      );
  }
}
