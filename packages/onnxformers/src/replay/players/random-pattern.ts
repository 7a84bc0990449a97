// Random attention with the pattern of a record, which none of our seeds gives.
import { dense, type Tensor, type Value } from '@onnxformers/core';
import type { FixtureCase } from '../fixture-set';
import type { Inputs } from '../play';
import type { Masking } from './masks';

const input = 'pattern';

/** The pattern of a case: a mask beside a random attention of all pairs. */
export interface RecordedPattern {
  readonly pattern: Tensor | undefined;
  readonly feeds: Readonly<Record<string, Tensor>>;
  /** A config in which random attention has all pairs. */
  readonly change: (config: Readonly<Record<string, unknown>>) => object;
  /** The mask of the call. */
  readonly mask: (inputs: Inputs) => Masking | undefined;
}

/** The pattern that a case contains, if there is one. */
export function recordedPattern({ state }: FixtureCase): RecordedPattern {
  const [, pattern] = [...state].find(([name]) => /(^|\.)(effective_mask|rand_attention_mask)$/.test(name)) ?? [];
  const masked = (keep: Value | undefined): Masking | undefined => keep && { mask: dense(keep) };
  return {
    pattern,
    feeds: pattern ? { [input]: pattern } : {},
    change: (config) => (pattern ? withAllPairs(config) : config) as object,
    mask: (inputs) => masked(inputs[input]),
  };
}

function withAllPairs(config: unknown): unknown {
  if (typeof config !== 'object' || config === null) return config;
  if (Array.isArray(config)) return config.map(withAllPairs);
  const entries = Object.entries(config).map(([name, value]) => [name, withAllPairs(value)] as const);
  return { ...Object.fromEntries(entries), ...('name' in config && config.name === 'random' && { density: 1 }) };
}
