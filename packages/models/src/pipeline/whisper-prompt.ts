// What a transcription by Whisper begins with: tokens of the language, of the task, and that there are no timestamps.
import { ConfigError, describe, nearest } from '@onnxformers/core';
import type { ConfigReader } from '../config';

/** What is transcribed. */
export interface SpeechTask {
  /** Language of the speech: a code such as `en`, or its English name. Default: detected, unless the checkpoint says. */
  readonly language?: string;
  /** `transcribe` writes in the language of the speech, `translate` in English. Default `transcribe`. */
  readonly task?: 'transcribe' | 'translate';
}

/** The tokens before the text; with `languages`, the likeliest of them follows those of `before`. */
export interface WhisperPrompt {
  readonly before: readonly number[];
  readonly languages?: readonly number[];
  readonly after: readonly number[];
}

/**
 * The prompt of a task, by `generation_config.json`. Checkpoints of one language have the tokens of `forced_decoder_ids`, if any.
 *
 * Throws   ConfigError for a language or a task that the checkpoint does not have
 */
export function whisperPrompt(start: number, o: SpeechTask, defaults: ConfigReader, config: ConfigReader): WhisperPrompt {
  const languages = idsOf(defaults, 'lang_to_id');
  const untimed = defaults.has('no_timestamps_token_id') ? [defaults.int('no_timestamps_token_id')] : [];
  if (!languages.size || !defaults.flag('is_multilingual', true)) {
    for (const key of ['language', 'task'] as const)
      if (o[key] !== undefined)
        throw new ConfigError({
          path: `automatic-speech-recognition: ${key}`,
          problem: 'the checkpoint is for one language',
          expected: `no ${key}`,
          got: describe(o[key]),
        });
    const forced = forcedIds(defaults.has('forced_decoder_ids') ? defaults : config);
    return { before: [start, ...forced, ...untimed.filter((id) => id !== forced.at(-1))], after: [] };
  }
  const task = one(idsOf(defaults, 'task_to_id'), 'task', o.task ?? defaults.text('task', 'transcribe'));
  const after = [task, ...untimed];
  const language = o.language ?? (defaults.has('language') ? defaults.text('language') : undefined);
  if (language === undefined) return { before: [start], languages: [...languages.values()], after };
  return { before: [start, one(byNames(languages), 'language', language), ...after], after: [] };
}

/** An object of token ids. */
function idsOf(config: ConfigReader, key: string): ReadonlyMap<string, number> {
  const section = config.section(key);
  return new Map(Object.keys(section?.raw ?? {}).map((name) => [name, section!.int(name)]));
}

/** Languages by their tokens `<|en|>`, codes and English names. */
function byNames(languages: ReadonlyMap<string, number>): ReadonlyMap<string, number> {
  const english = new Intl.DisplayNames('en', { type: 'language', fallback: 'code' });
  const named = [...languages].flatMap(([token, id]) => {
    const code = /^<\|([a-z]{2,8})\|>$/.exec(token)?.[1];
    const names = code === undefined ? [token] : [code, english.of(code)!.toLowerCase(), token];
    return names.map((name) => [name, id] as const);
  });
  return new Map(named);
}

function one(ids: ReadonlyMap<string, number>, key: string, value: string): number {
  const word = typeof value === 'string' ? value.toLowerCase() : value;
  const id = ids.get(word);
  if (id !== undefined) return id;
  const names = [...ids.keys()].filter((name) => !name.startsWith('<|'));
  const near = typeof word === 'string' ? nearest(word, names) : undefined;
  throw new ConfigError({
    path: `automatic-speech-recognition: ${key}`,
    problem: 'the checkpoint does not have it',
    expected: names.join(', '),
    got: describe(value),
    ...(near && { hint: `Did you mean "${near}"?` }),
  });
}

/** The ids of pairs [place, id] with places 1, 2, … */
function forcedIds(config: ConfigReader): readonly number[] {
  return (config.list('forced_decoder_ids') ?? []).map((pair, i) => {
    const [place, id] = Array.isArray(pair) ? pair : [];
    if (place === i + 1 && Number.isSafeInteger(id) && id >= 0) return id as number;
    throw config.refuse('forced_decoder_ids', 'not the tokens of a prompt', 'pairs [1, id], [2, id], …');
  });
}
