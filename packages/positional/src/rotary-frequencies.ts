// How fast each pair of channels turns, and how it is slowed for long sequences.
import { ConfigError } from '@onnxformers/core';

/** The part of a rotary config that decides on angles. */
export interface FrequencyOptions {
  readonly rotaryDim: number;
  readonly base: number;
  readonly scaling: 'none' | 'linear' | 'ntk' | 'yarn' | 'llama3';
  readonly factor: number;
  readonly originalPositions: number | undefined;
  readonly lowFreqFactor: number;
  readonly highFreqFactor: number;
  readonly betaFast: number;
  readonly betaSlow: number;
  readonly attentionFactor: number | undefined;
}

/** Angles per position of each pair (radians), and the factor of cosines and sines. */
export interface Frequencies {
  readonly rates: readonly number[];
  readonly amplitude: number;
}

/**
 * - `linear`: θ / factor
 * - `ntk`: base · factor^(d / (d − 2)), so that the slowest pair slows by factor and the fastest not at all
 * - `llama3`: pairs with long wavelengths slow by factor, those with short ones not, in between a blend
 * - `yarn`: the same by a ramp over the pairs; cosines and sines grow by 0.1 ln(factor) + 1
 *
 * Throws   ConfigError for yarn and llama3 without originalPositions
 */
export function frequencies(o: FrequencyOptions, path: string): Frequencies {
  const plain = (base: number): number[] => Array.from({ length: o.rotaryDim / 2 }, (_, i) => base ** ((-2 * i) / o.rotaryDim));
  const original = (): number => {
    if (o.originalPositions !== undefined) return o.originalPositions;
    throw new ConfigError({
      path: `${path}.originalPositions`,
      problem: `${o.scaling} needs the longest sequence of the training`,
      expected: 'an integer >= 1',
      got: 'nothing',
    });
  };
  switch (o.scaling) {
    case 'none':
      return { rates: plain(o.base), amplitude: 1 };
    case 'linear':
      return { rates: plain(o.base).map((r) => r / o.factor), amplitude: 1 };
    case 'ntk':
      return { rates: plain(o.base * o.factor ** (o.rotaryDim / Math.max(1, o.rotaryDim - 2))), amplitude: 1 };
    case 'llama3':
      return { rates: plain(o.base).map((r) => llama3(r, original(), o)), amplitude: 1 };
    case 'yarn':
      return yarn(plain(o.base), original(), o);
  }
}

function llama3(rate: number, original: number, { factor, lowFreqFactor, highFreqFactor }: FrequencyOptions): number {
  const turns = (original * rate) / (2 * Math.PI);
  if (turns < lowFreqFactor) return rate / factor;
  if (turns > highFreqFactor) return rate;
  const kept = (turns - lowFreqFactor) / (highFreqFactor - lowFreqFactor);
  return ((1 - kept) * rate) / factor + kept * rate;
}

function yarn(rates: readonly number[], original: number, o: FrequencyOptions): Frequencies {
  // The pair that makes this many turns over the original length, as a fraction of an index.
  const pairOf = (turns: number): number => (o.rotaryDim * Math.log(original / (turns * 2 * Math.PI))) / (2 * Math.log(o.base));
  const low = Math.max(0, Math.floor(pairOf(o.betaFast)));
  const high = Math.min(o.rotaryDim - 1, Math.ceil(pairOf(o.betaSlow)));
  const width = Math.max(high - low, 0.001);
  const slowed = rates.map((rate, i) => {
    const share = Math.min(1, Math.max(0, (i - low) / width));
    return (rate / o.factor) * share + rate * (1 - share);
  });
  return { rates: slowed, amplitude: o.attentionFactor ?? (o.factor <= 1 ? 1 : 0.1 * Math.log(o.factor) + 1) };
}
