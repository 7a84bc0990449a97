// Labels of texts.
import { checkOptions } from '@onnxformers/core';
import type { Pretrained } from '../pretrained';
import { best, labelOf, rowOf, softmax, textModel } from './model';
import type { TaskDefinition } from './task';

/** A label of a text. */
export interface Label {
  readonly label: string;
  readonly score: number;
}

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

const sigmoid = (logits: Float32Array): number[] => Array.from(logits, (x) => 1 / (1 + Math.exp(-x)));

/** What makes scores of logits: several labels may hold at once, or one of them; a regression has no scores. */
export function scoresOf({ original }: Pretrained): (logits: Float32Array) => number[] {
  if (original.problem_type === 'regression') return (logits) => Array.from(logits);
  return (logits) => (original.problem_type === 'multi_label_classification' || logits.length === 1 ? sigmoid : softmax)(logits);
}

/** Labels of whole texts. */
export const textClassification: TaskDefinition<TextClassification> = {
  head: 'sequence_classification',
  async open({ model, tokenizer, place }) {
    const run = await textModel(model, place);
    const scores = scoresOf(model);
    async function call(texts: string | readonly string[], o: TextClassificationOptions = {}) {
      checkOptions('text-classification', o, { top_k: true });
      const top = o.top_k === undefined ? 1 : o.top_k;
      const all = typeof texts === 'string' ? [texts] : texts;
      const { logits } = await run(tokenizer(all, { truncation: true, padding_side: 'right' }));
      const results = all.map((_, b) =>
        best(scores(rowOf(logits!, b)), top).map(({ index, score }): Label => ({ label: labelOf(model, index), score })),
      );
      if (typeof texts === 'string') return results[0]!;
      return top === 1 ? results.flat() : results;
    }
    return { call: call as TextClassification, dispose: run.dispose };
  },
};
