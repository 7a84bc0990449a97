// The span of a text that answers a question.
import { checkOptions } from '@onnxformers/core';
import { rowOf } from '../rows';
import { softmax, textModel } from './model';
import type { TaskDefinition } from './task';

/** An answer from the context. */
export interface Answer {
  readonly answer: string;
  readonly score: number;
}

/** Options of question answering. */
export interface QuestionAnsweringOptions {
  /** How many answers are returned. Default 1. */
  readonly top_k?: number;
  /** Tokens of an answer at most. Default 15. */
  readonly max_answer_len?: number;
}

/** The answer to a question, or with `top_k` other than 1 a list. */
export interface QuestionAnswering {
  (question: string, context: string, options?: QuestionAnsweringOptions & { readonly top_k?: 1 }): Promise<Answer>;
  (question: string, context: string, options: QuestionAnsweringOptions): Promise<Answer[]>;
}

/** Answers that are spans of a context. A context that is too long is cut. */
export const questionAnswering: TaskDefinition<QuestionAnswering> = {
  head: 'question_answering',
  reads: ['tokenizer'],
  async open({ model, tokenizer, place }) {
    const run = await textModel(model, place);
    async function call(question: string, context: string, o: QuestionAnsweringOptions = {}) {
      checkOptions('question-answering', o, { top_k: true, max_answer_len: true });
      const cut = { text_pair: context, truncation: 'only_second' } as const;
      const { ids, texts } = tokenizer.sequence(question, cut);
      const { start_logits, end_logits } = await run(tokenizer(question, cut));
      const inside = texts.flatMap((text, i) => (text === 1 ? [i] : []));
      const [begins, ends] = [start_logits!, end_logits!].map((t) => {
        const row = rowOf(t, 0);
        return softmax(inside.map((i) => row[i]!));
      }) as [number[], number[]];
      const most = o.max_answer_len ?? 15;
      const spans = begins.flatMap((p, from) =>
        ends.slice(from, from + most).map((q, more) => ({ from, to: from + more, score: p * q })),
      );
      const top = spans.sort((a, b) => b.score - a.score || a.from - b.from || a.to - b.to).slice(0, o.top_k ?? 1);
      const answers = top.map(({ from, to, score }): Answer => {
        const part = inside.slice(from, to + 1).map((i) => ids[i]!);
        return { answer: tokenizer.decode(part, { skip_special_tokens: true }).trim(), score };
      });
      return (o.top_k ?? 1) === 1 ? (answers[0] ?? { answer: '', score: 0 }) : answers;
    }
    return { call: call as QuestionAnswering, dispose: run.dispose };
  },
};
