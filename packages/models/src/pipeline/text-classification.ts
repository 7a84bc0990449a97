// Labels of texts.
import { checkOptions } from '@onnxformers/core';
import { rowOf } from '../rows';
import { bestLabels, type Label } from './labels';
import { textModel } from './model';
import type { TaskDefinition } from './task';

/** Options of text classification. */
export interface TextClassificationOptions {
  /** How many labels are returned; null is all. Default 1. */
  readonly top_k?: number | null;
}

/** Labels: of one text a list, of several texts the best of each, or with `top_k` other than 1 a list for each. */
export interface TextClassification {
  (text: string, options?: TextClassificationOptions): Promise<Label[]>;
  (texts: readonly string[], options?: TextClassificationOptions & { readonly top_k?: 1 }): Promise<Label[]>;
  (texts: readonly string[], options: TextClassificationOptions): Promise<Label[][]>;
}

/** Labels of whole texts. */
export const textClassification: TaskDefinition<TextClassification> = {
  head: 'sequence_classification',
  reads: ['tokenizer'],
  async open({ model, tokenizer, place }) {
    const run = await textModel(model, place);
    async function call(texts: string | readonly string[], o: TextClassificationOptions = {}) {
      checkOptions('text-classification', o, { top_k: true });
      const top = o.top_k === undefined ? 1 : o.top_k;
      const all = typeof texts === 'string' ? [texts] : texts;
      const { logits } = await run(tokenizer(all, { truncation: true, padding_side: 'right' }));
      const results = all.map((_, b) => bestLabels(model, rowOf(logits!, b), top));
      if (typeof texts === 'string') return results[0]!;
      return top === 1 ? results.flat() : results;
    }
    return { call: call as TextClassification, dispose: run.dispose };
  },
};
