// How tokens are generated: options of a call, then generation_config.json, then config.json.
import { ConfigError, describe } from '@onnxformers/core';
import type { ConfigReader } from '../config';

/** Options of generation, with the names of the field. Those that are absent come from the checkpoint's `generation_config.json`. */
export interface GenerationOptions {
  /** Number of new tokens at most. Default: `max_length`, or 20. */
  readonly max_new_tokens?: number;
  /** Length at most, with the prompt. */
  readonly max_length?: number;
  /** New tokens before an end is allowed. Default 0. */
  readonly min_new_tokens?: number;
  /** Whether tokens are drawn; otherwise each is the likeliest. Default false. */
  readonly do_sample?: boolean;
  /** Logits are divided by it before a token is drawn. Default 1. */
  readonly temperature?: number;
  /** Only so many of the likeliest tokens are drawn; 0 is all. Default 50. */
  readonly top_k?: number;
  /** Only the likeliest tokens whose probabilities add up to it are drawn. Default 1. */
  readonly top_p?: number;
  /** Only tokens with at least this part of the largest probability are drawn. Default 0. */
  readonly min_p?: number;
  /** Logits of tokens that have occurred are divided by it if positive, otherwise multiplied. Default 1. */
  readonly repetition_penalty?: number;
  /** No group of so many tokens occurs twice; 0 is off. Default 0. */
  readonly no_repeat_ngram_size?: number;
  /** Tokens that end a sequence. */
  readonly eos_token_id?: number | readonly number[];
  /** Fills sequences that have ended. */
  readonly pad_token_id?: number;
  /** Begins what a decoder with a memory writes. */
  readonly decoder_start_token_id?: number;
  /** First token after the start. */
  readonly forced_bos_token_id?: number;
  /** Last token, if the length is reached. */
  readonly forced_eos_token_id?: number | readonly number[];
  /** Tokens that are never generated. */
  readonly suppress_tokens?: readonly number[];
  /** Tokens that are not generated first. */
  readonly begin_suppress_tokens?: readonly number[];
  /** Groups of tokens that are not generated; only groups of one token. */
  readonly bad_words_ids?: readonly (readonly number[])[];
  /** For draws; the same seed gives the same tokens. Default: another one for each call. */
  readonly seed?: number;
}

/** All settings of a generation. */
export interface GenerationSettings {
  readonly steps: (prompt: number) => number;
  readonly min_new_tokens: number;
  readonly do_sample: boolean;
  readonly temperature: number;
  readonly top_k: number;
  readonly top_p: number;
  readonly min_p: number;
  readonly repetition_penalty: number;
  readonly no_repeat_ngram_size: number;
  readonly ends: readonly number[];
  readonly pad: number;
  readonly start: number | undefined;
  readonly forcedFirst: number | undefined;
  readonly forcedLast: number | undefined;
  readonly suppressed: readonly number[];
  readonly suppressedFirst: readonly number[];
  readonly seed: number;
}

/** Keys that have no effect here, with the value at which they have none in the reference either. */
const without: Readonly<Record<string, unknown>> = {
  num_beams: 1,
  num_beam_groups: 1,
  penalty_alpha: 0,
  typical_p: 1,
  epsilon_cutoff: 0,
  eta_cutoff: 0,
  encoder_repetition_penalty: 1,
  encoder_no_repeat_ngram_size: 0,
  diversity_penalty: 0,
  guidance_scale: 1,
};

/** Settings of a checkpoint that have no effect here: beams and rare penalties. */
export const withoutEffect = (defaults: ConfigReader): readonly string[] =>
  Object.entries(without).flatMap(([key, none]) =>
    defaults.has(key) && defaults.raw[key] !== none ? [`${key}: ${describe(defaults.raw[key])}`] : [],
  );

const known: Readonly<Record<keyof GenerationOptions, true>> = {
  max_new_tokens: true,
  max_length: true,
  min_new_tokens: true,
  do_sample: true,
  temperature: true,
  top_k: true,
  top_p: true,
  min_p: true,
  repetition_penalty: true,
  no_repeat_ngram_size: true,
  eos_token_id: true,
  pad_token_id: true,
  decoder_start_token_id: true,
  forced_bos_token_id: true,
  forced_eos_token_id: true,
  suppress_tokens: true,
  begin_suppress_tokens: true,
  bad_words_ids: true,
  seed: true,
};

/** The names of all options. */
export const generationOptions: Readonly<Record<string, true>> = known;

const refuse = (key: string, expected: string, got: unknown): ConfigError =>
  new ConfigError({ path: `generation: ${key}`, problem: 'wrong value', expected, got: describe(got) });

/** Reads settings from the sources in their order; each is a plain object. */
function reader(sources: readonly Readonly<Record<string, unknown>>[]) {
  const find = (key: keyof GenerationOptions): unknown => {
    for (const source of sources) if (source[key] !== undefined && source[key] !== null) return source[key];
    return undefined;
  };
  const number = (key: keyof GenerationOptions, otherwise: number, from: number, to = Number.POSITIVE_INFINITY): number => {
    const value = find(key) ?? otherwise;
    if (typeof value === 'number' && value >= from && value <= to) return value;
    throw refuse(key, `a number from ${from}${to < Number.POSITIVE_INFINITY ? ` to ${to}` : ''}`, value);
  };
  const isId = (id: unknown): id is number => Number.isSafeInteger(id) && (id as number) >= 0;
  const ids = (key: keyof GenerationOptions): readonly number[] => {
    const value = find(key) ?? [];
    const list = Array.isArray(value) ? value : [value];
    if (list.every(isId)) return list;
    throw refuse(key, 'a token id or a list of them', value);
  };
  return { find, number, ids };
}

/**
 * The settings of a call.
 *
 * Throws   ConfigError for a value that is not possible
 */
export function settingsOf(
  o: GenerationOptions,
  defaults: ConfigReader,
  config: ConfigReader,
  padOfTokenizer?: number,
): GenerationSettings {
  const { find, number, ids } = reader([o as Readonly<Record<string, unknown>>, defaults.raw, config.raw]);
  const ends = ids('eos_token_id');
  const words = (find('bad_words_ids') ?? []) as readonly (readonly number[])[];
  if (!Array.isArray(words) || words.some((word) => !Array.isArray(word) || word.length !== 1))
    throw refuse('bad_words_ids', 'groups of one token', words);
  const temperature = number('temperature', 1, 0);
  const sampled = find('do_sample') ?? false;
  if (typeof sampled !== 'boolean') throw refuse('do_sample', 'true or false', sampled);
  const length = o.max_new_tokens === undefined && o.max_length !== undefined ? undefined : find('max_new_tokens');
  const limit = find('max_length');
  return {
    steps(prompt) {
      if (length !== undefined) return number('max_new_tokens', 0, 0);
      return limit === undefined ? 20 : Math.max(0, number('max_length', 0, 0) - prompt);
    },
    min_new_tokens: number('min_new_tokens', 0, 0),
    // At a temperature of 0 only the likeliest token has a probability.
    do_sample: sampled && temperature > 0,
    temperature,
    top_k: number('top_k', 50, 0),
    top_p: number('top_p', 1, 0, 1),
    min_p: number('min_p', 0, 0, 1),
    repetition_penalty: number('repetition_penalty', 1, Number.MIN_VALUE),
    no_repeat_ngram_size: number('no_repeat_ngram_size', 0, 0),
    ends,
    pad: ids('pad_token_id')[0] ?? padOfTokenizer ?? ends[0] ?? 0,
    start: ids('decoder_start_token_id')[0],
    forcedFirst: ids('forced_bos_token_id')[0],
    forcedLast: ids('forced_eos_token_id')[0],
    suppressed: [...ids('suppress_tokens'), ...words.map(([id]) => id!)],
    suppressedFirst: ids('begin_suppress_tokens'),
    seed: o.seed ?? Math.floor(Math.random() * 2 ** 32),
  };
}
