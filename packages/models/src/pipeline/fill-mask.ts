// The likeliest tokens in a gap.
import { ConfigError, checkOptions } from '@onnxformers/core';
import { rowOf } from '../rows';
import { best, softmax, textModel } from './model';
import type { TaskDefinition } from './task';

/** A token for the gap of a text. */
export interface FilledMask {
  readonly score: number;
  readonly token: number;
  readonly token_str: string;
  /** The text with the token. */
  readonly sequence: string;
}

/** Options of fill-mask. */
export interface FillMaskOptions {
  /** How many tokens are returned. Default 5. */
  readonly top_k?: number;
}

/** The likeliest tokens, of one text or of each. */
export interface FillMask {
  (text: string, options?: FillMaskOptions): Promise<FilledMask[]>;
  (texts: readonly string[], options?: FillMaskOptions): Promise<FilledMask[][]>;
}

/** Tokens for the one gap of each text. */
export const fillMask: TaskDefinition<FillMask> = {
  head: 'masked_lm',
  reads: ['tokenizer'],
  async open({ model, tokenizer, place }) {
    const mask = tokenizer.special.mask_token;
    if (!mask)
      throw new ConfigError({ path: 'tokenizer_config.json: mask_token', problem: 'missing', expected: 'the token of a gap' });
    const run = await textModel(model, place);
    async function call(texts: string | readonly string[], o: FillMaskOptions = {}) {
      checkOptions('fill-mask', o, { top_k: true });
      const all = typeof texts === 'string' ? [texts] : texts;
      const batch = tokenizer(all, { truncation: true, padding_side: 'right' });
      const [, seq] = batch.ids.dims as [number, number];
      const rows = all.map((_, b) => Array.from({ length: seq }, (_, i) => Number(batch.ids.data[b * seq + i])));
      const gaps = rows.map((ids, b) => {
        const at = ids.flatMap((id, i) => (id === mask!.id ? [i] : []));
        if (at.length === 1) return at[0]!;
        throw new ConfigError({
          path: `fill-mask: text ${b}`,
          problem: 'not one gap',
          expected: `${mask!.token} once`,
          got: `${at.length} times`,
        });
      });
      const logits = (await run(batch)).logits!;
      const results = rows.map((ids, b) =>
        best(softmax(rowOf(logits, b, gaps[b]!)), o.top_k ?? 5).map(({ index, score }): FilledMask => {
          const length = ids.filter((_, i) => Number(batch.attention_mask.data[b * seq + i])).length;
          const filled = ids.slice(0, length).map((id, i) => (i === gaps[b] ? index : id));
          return {
            score,
            token: index,
            token_str: tokenizer.decode([index]),
            sequence: tokenizer.decode(filled, { skip_special_tokens: true }),
          };
        }),
      );
      return typeof texts === 'string' ? results[0]! : results;
    }
    return { call: call as FillMask, dispose: run.dispose };
  },
};
