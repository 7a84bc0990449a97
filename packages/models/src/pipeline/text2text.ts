// Texts from texts by an encoder-decoder: general, translated, summarized.
import { ConfigError, checkOptions } from '@onnxformers/core';
import { chooser } from '../generation/choose';
import { generateTokens } from '../generation/generate';
import { type GenerationOptions, generationOptions, settingsOf } from '../generation/settings';
import { withMemory } from '../generation/with-memory';
import { generationDefaults } from './generation-defaults';
import type { TaskDefinition } from './task';

/** A result of text2text generation. */
export interface Text2Text {
  readonly generated_text: string;
}
/** A result of translation. */
export interface Translated {
  readonly translation_text: string;
}
/** A result of summarization. */
export interface Summarized {
  readonly summary_text: string;
}

/** A result for each text. */
export type TextToText<R> = (texts: string | readonly string[], options?: GenerationOptions) => Promise<R[]>;

/** The prefix that the checkpoint wants before each text: `summarize: `. */
function prefixOf(original: Readonly<Record<string, unknown>>, task: string): string {
  const tasks = original.task_specific_params as Readonly<Record<string, { prefix?: unknown } | undefined>> | null | undefined;
  const prefix = tasks?.[task]?.prefix;
  return typeof prefix === 'string' ? prefix : '';
}

function textToText<R>(task: string, result: (text: string) => R): TaskDefinition<TextToText<R>> {
  return {
    head: 'seq2seq_lm',
    reads: ['tokenizer'],
    async open({ model, tokenizer, place }) {
      const defaults = await generationDefaults(model);
      const rows = ['batch', 'seq'] as const;
      const run = await withMemory(model, place, { ids: ['int64', rows], attention_mask: ['int64', rows] });
      const prefix = prefixOf(model.original, task);
      async function call(texts: string | readonly string[], o: GenerationOptions = {}): Promise<R[]> {
        checkOptions(task, o as object, generationOptions);
        const settings = settingsOf(o, defaults, model.reader, tokenizer.special.pad_token?.id);
        const begin = settings.start ?? tokenizer.special.bos_token?.id;
        if (begin === undefined)
          throw new ConfigError({ path: 'generation: decoder_start_token_id', problem: 'missing', expected: 'a token id' });
        const all = (typeof texts === 'string' ? [texts] : texts).map((text) => prefix + text);
        const { ids, attention_mask } = tokenizer(all, { truncation: true, padding_side: 'right' });
        const start = await run.start(
          { ids, attention_mask },
          all.map(() => [begin]),
        );
        const made = await generateTokens(run.decoder, start, {
          steps: settings.steps(1),
          choose: chooser(settings),
          ends: settings.ends,
          pad: settings.pad,
        });
        return made.map((tokens) => result(tokenizer.decode(tokens, { skip_special_tokens: true })));
      }
      return { call, dispose: run.dispose };
    },
  };
}

/** Any text from a text. */
export const text2textGeneration = textToText('text2text-generation', (generated_text): Text2Text => ({ generated_text }));
/** Translation. */
export const translation = textToText('translation', (translation_text): Translated => ({ translation_text }));
/** Summarization. */
export const summarization = textToText('summarization', (summary_text): Summarized => ({ summary_text }));
