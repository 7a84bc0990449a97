// Labels of tokens.
import { checkOptions } from '@onnxformers/core';
import { rowOf } from '../rows';
import { labelOf } from './labels';
import { best, softmax, textModel } from './model';
import type { TaskDefinition } from './task';

/** A labelled token. */
export interface LabelledToken {
  readonly entity: string;
  readonly score: number;
  /** Position among all tokens, special ones too. */
  readonly index: number;
  /** The token as text. */
  readonly word: string;
}

/** Options of token classification. */
export interface TokenClassificationOptions {
  /** Tokens with these labels are left out. Default `['O']`. */
  readonly ignore_labels?: readonly string[];
}

/** Labelled tokens, of one text or of each. */
export interface TokenClassification {
  (text: string, options?: TokenClassificationOptions): Promise<LabelledToken[]>;
  (texts: readonly string[], options?: TokenClassificationOptions): Promise<LabelledToken[][]>;
}

/** Labels of the tokens of texts. */
export const tokenClassification: TaskDefinition<TokenClassification> = {
  head: 'token_classification',
  reads: ['tokenizer'],
  async open({ model, tokenizer, place }) {
    const run = await textModel(model, place);
    async function call(texts: string | readonly string[], o: TokenClassificationOptions = {}) {
      checkOptions('token-classification', o, { ignore_labels: true });
      const ignored = o.ignore_labels ?? ['O'];
      const all = typeof texts === 'string' ? [texts] : texts;
      const { logits } = await run(tokenizer(all, { truncation: true, padding_side: 'right' }));
      const results = all.map((text, b) => {
        const { ids, texts: from } = tokenizer.sequence(text, { truncation: true });
        return ids.flatMap((id, index): LabelledToken[] => {
          if (from[index] === undefined) return [];
          const [{ index: label, score }] = best(softmax(rowOf(logits!, b, index)), 1) as [{ index: number; score: number }];
          const entity = labelOf(model, label);
          return ignored.includes(entity) ? [] : [{ entity, score, index, word: tokenizer.decode([id]) }];
        });
      });
      return typeof texts === 'string' ? results[0]! : results;
    }
    return { call: call as TokenClassification, dispose: run.dispose };
  },
};
