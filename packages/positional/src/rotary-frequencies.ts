// Frequencies of rotary embeddings, and their scaling for long sequences.
import { ConfigError } from '@onnxformers/core';

/** The part of a rotary config that determines angles. */
export interface FrequencyOptions {
  readonly rotaryDim: number;
  readonly theta: number;
  readonly scaling: 'none' | 'linear' | 'ntk' | 'dynamic' | 'yarn' | 'llama3' | 'longrope';
  readonly factor: number;
  readonly originalMaxPositions: number | undefined;
  readonly lowFreqFactor: number;
  readonly highFreqFactor: number;
  readonly betaFast: number;
  readonly betaSlow: number;
  readonly truncate: boolean;
  readonly attentionFactor: number | undefined;
  readonly shortFactor: readonly number[] | undefined;
  readonly longFactor: readonly number[] | undefined;
}

/** Angles per position of each pair (radians), and the factor of cosines and sines. */
export interface Frequencies {
  readonly inverseFrequencies: readonly number[];
  readonly scale: number;
  /** Sequences that are longer than those of the training have other angles. */
  readonly longer?: LongerThan;
}

/** For a sequence of n > `original` positions: angles of its own, or those of n = original times grow(n)^exponent. */
export type LongerThan = { readonly original: number } & (
  | { readonly inverseFrequencies: readonly number[] }
  | { readonly factor: number; readonly exponents: readonly number[] }
);

/**
 * - `linear`: θ / factor
 * - `ntk`: theta · factor^(d / (d − 2)), so that the lowest frequency is divided by factor and the highest does not change
 * - `dynamic`: ntk, with a factor that grows with the sequence: factor · n / original − (factor − 1) for n > original positions
 * - `llama3`: low frequencies are divided by factor, high ones do not change, in between they are interpolated
 * - `yarn`: the same with a linear ramp over the pairs; cosines and sines are multiplied by 0.1 ln(factor) + 1
 * - `longrope`: θ / shortFactor for sequences of at most the original length, θ / longFactor for longer ones; cosines and sines are multiplied by
 *   √(1 + ln(factor) / ln(original))
 *
 * Throws   ConfigError for dynamic, yarn, llama3 and longrope without originalMaxPositions, and for longrope without a factor for each pair or with originalMaxPositions 1
 */
export function frequencies(o: FrequencyOptions, path: string): Frequencies {
  const plain = (theta: number): number[] => Array.from({ length: o.rotaryDim / 2 }, (_, i) => theta ** ((-2 * i) / o.rotaryDim));
  const original = (): number => {
    if (o.originalMaxPositions !== undefined) return o.originalMaxPositions;
    throw new ConfigError({
      path: `${path}.originalMaxPositions`,
      problem: `scaling: '${o.scaling}' requires originalMaxPositions, the longest sequence of the training`,
      expected: 'an integer >= 1',
      got: 'nothing',
    });
  };
  switch (o.scaling) {
    case 'none':
      return { inverseFrequencies: plain(o.theta), scale: 1 };
    case 'linear':
      return { inverseFrequencies: plain(o.theta).map((r) => r / o.factor), scale: 1 };
    case 'ntk':
      return { inverseFrequencies: plain(o.theta * o.factor ** (o.rotaryDim / Math.max(1, o.rotaryDim - 2))), scale: 1 };
    case 'dynamic':
      return dynamic(plain(o.theta), original(), o);
    case 'longrope':
      return longrope(plain(o.theta), original(), o, path);
    case 'llama3':
      return { inverseFrequencies: plain(o.theta).map((r) => llama3(r, original(), o)), scale: 1 };
    case 'yarn':
      return yarn(plain(o.theta), original(), o);
  }
}

function llama3(rate: number, original: number, { factor, lowFreqFactor, highFreqFactor }: FrequencyOptions): number {
  const turns = (original * rate) / (2 * Math.PI);
  if (turns < lowFreqFactor) return rate / factor;
  if (turns >= highFreqFactor) return rate;
  const kept = (turns - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
  return ((1 - kept) * rate) / factor + kept * rate;
}

function yarn(inverseFrequencies: readonly number[], original: number, o: FrequencyOptions): Frequencies {
  // The (fractional) index of the pair that makes this many turns over the original length.
  const pairOf = (turns: number): number => (o.rotaryDim * Math.log(original / (turns * 2 * Math.PI))) / (2 * Math.log(o.theta));
  const [down, up] = o.truncate ? [Math.floor, Math.ceil] : [Number, Number];
  const low = Math.max(0, down(pairOf(o.betaFast)));
  const high = Math.min(o.rotaryDim - 1, up(pairOf(o.betaSlow)));
  const width = Math.max(high - low, 0.001);
  const slowed = inverseFrequencies.map((rate, i) => {
    const share = Math.min(1, Math.max(0, (i - low) / width));
    return (rate / o.factor) * share + rate * (1 - share);
  });
  return { inverseFrequencies: slowed, scale: o.attentionFactor ?? (o.factor <= 1 ? 1 : 0.1 * Math.log(o.factor) + 1) };
}

function dynamic(inverseFrequencies: readonly number[], original: number, { rotaryDim, factor }: FrequencyOptions): Frequencies {
  const exponents = inverseFrequencies.map((_, i) => (-2 * i) / Math.max(1, rotaryDim - 2));
  return { inverseFrequencies, scale: 1, longer: { original, factor, exponents } };
}

function longrope(rates: readonly number[], original: number, o: FrequencyOptions, path: string): Frequencies {
  const divided = (field: 'shortFactor' | 'longFactor'): readonly number[] => {
    const factors = o[field];
    if (factors?.length === rates.length) return rates.map((rate, i) => rate / factors[i]!);
    throw new ConfigError({
      path: `${path}.${field}`,
      problem: "scaling: 'longrope' requires a factor for each pair of channels",
      expected: `a list of rotaryDim / 2 = ${rates.length}`,
      got: factors ? `a list of ${factors.length}` : 'nothing',
    });
  };
  const scale = o.attentionFactor ?? (o.factor <= 1 ? 1 : Math.sqrt(1 + Math.log(o.factor) / Math.log(original)));
  if (!Number.isFinite(scale))
    throw new ConfigError({
      path: `${path}.originalMaxPositions`,
      problem: "scaling: 'longrope' divides by its logarithm",
      expected: 'at least 2, or an attentionFactor',
      got: String(original),
    });
  return {
    inverseFrequencies: divided('shortFactor'),
    scale,
    longer: { original, inverseFrequencies: divided('longFactor') },
  };
}
