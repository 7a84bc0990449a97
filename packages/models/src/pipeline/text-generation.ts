// Texts continued, and chats answered.
import { checkOptions } from '@onnxformers/core';
import { causalRunner } from '../generation/causal';
import { chooser } from '../generation/choose';
import { generateTokens, type Rows } from '../generation/generate';
import { type GenerationOptions, generationOptions, settingsOf } from '../generation/settings';
import type { ChatMessage } from '../tokenizer/chat-template';
import { generationDefaults } from './generation-defaults';
import type { TaskDefinition } from './task';

/** Options of text generation. */
export interface TextGenerationOptions extends GenerationOptions {
  /** Whether the result contains the prompt. Default true. */
  readonly return_full_text?: boolean;
  /** Results for each prompt; only drawn ones differ. Default 1. */
  readonly num_return_sequences?: number;
}

/** A continued text, or a chat with its answer. */
export interface GeneratedText<T = string> {
  readonly generated_text: T;
}

/** Continues texts, or answers chats. */
export interface TextGeneration {
  (text: string, options?: TextGenerationOptions): Promise<GeneratedText[]>;
  (chat: readonly ChatMessage[], options?: TextGenerationOptions): Promise<GeneratedText<ChatMessage[]>[]>;
  (texts: readonly string[], options?: TextGenerationOptions): Promise<GeneratedText[][]>;
}

type Prompts = string | readonly string[] | readonly ChatMessage[];

const isChat = (prompts: Prompts): prompts is readonly ChatMessage[] =>
  Array.isArray(prompts) && prompts.length > 0 && typeof prompts[0] === 'object';

const known = { ...generationOptions, return_full_text: true, num_return_sequences: true } as const;

/** Text generation by a decoder. */
export const textGeneration: TaskDefinition<TextGeneration> = {
  head: 'causal_lm',
  reads: ['tokenizer'],
  async open({ model, tokenizer, place }) {
    const defaults = await generationDefaults(model);
    const run = await causalRunner(model, place);
    async function call(prompts: Prompts, o: TextGenerationOptions = {}) {
      checkOptions('text-generation', o as object, known as Record<string, true>);
      const chat = isChat(prompts) ? prompts : undefined;
      const texts = chat
        ? [tokenizer.applyChatTemplate(chat, { add_generation_prompt: true })]
        : typeof prompts === 'string'
          ? [prompts]
          : (prompts as readonly string[]);
      const count = o.num_return_sequences ?? 1;
      const settings = settingsOf(o, defaults, model.reader, tokenizer.special.pad_token?.id);
      const batch = tokenizer(
        texts.flatMap((text) => new Array<string>(count).fill(text)),
        { add_special_tokens: !chat, padding_side: 'left' },
      );
      const [rows, width] = batch.ids.dims as [number, number];
      const rowsOf = (data: ArrayLike<unknown>): Rows =>
        Array.from({ length: rows }, (_, b) => Array.from({ length: width }, (_, i) => Number(data[b * width + i])));
      const ids = rowsOf(batch.ids.data);
      const made = await generateTokens(
        run,
        { ids, mask: rowsOf(batch.attention_mask.data) },
        { steps: settings.steps(width), choose: chooser(settings), ends: settings.ends, pad: settings.pad },
      );
      const skip = { skip_special_tokens: true };
      const results = texts.map((text, i) =>
        made.slice(i * count, (i + 1) * count).map((tokens, j) => {
          const prompt = ids[i * count + j]!;
          // Decoded after the prompt: alone, a space at its beginning could be lost.
          const before = tokenizer.decode(prompt, skip);
          const added = tokenizer.decode([...prompt, ...tokens], skip).slice(before.length);
          if (o.return_full_text === false) return { generated_text: added };
          return { generated_text: chat ? [...chat, { role: 'assistant', content: added.trim() }] : text + added };
        }),
      );
      return chat || typeof prompts === 'string' ? results[0]! : results;
    }
    return { call: call as unknown as TextGeneration, dispose: () => run.dispose() };
  },
};
