// Labels that a model was not trained on: each is a hypothesis that a text may entail.
import { ConfigError, checkOptions } from '@onnxformers/core';
import { rowOf } from '../rows';
import { type Hypotheses, hypothesesOf } from './hypotheses';
import { softmax, textModel } from './model';
import type { TaskDefinition } from './task';

/** The labels of a text, the likeliest first. */
export interface ZeroShot {
  readonly sequence: string;
  readonly labels: readonly string[];
  readonly scores: readonly number[];
}

/** Options of zero-shot classification. */
export interface ZeroShotOptions {
  /** The hypothesis; `{}` is the label. Default `This example is {}.` */
  readonly hypothesis_template?: string;
  /** Whether several labels may hold at once. Default false. */
  readonly multi_label?: boolean;
}

/** Labels of one text or of each. */
export interface ZeroShotClassification {
  (text: string, labels: string | readonly string[], options?: ZeroShotOptions): Promise<ZeroShot>;
  (texts: readonly string[], labels: string | readonly string[], options?: ZeroShotOptions): Promise<ZeroShot[]>;
}

/** Zero-shot classification by a model of natural language inference. */
export const zeroShotClassification: TaskDefinition<ZeroShotClassification> = {
  head: 'sequence_classification',
  reads: ['tokenizer'],
  async open({ model, tokenizer, place }) {
    const names = Object.entries((model.original.label2id ?? {}) as Record<string, unknown>);
    const find = (name: RegExp) => names.find(([label]) => name.test(label))?.[1];
    const [entailed, contradicted] = [find(/^entail/i), find(/^contra/i) ?? find(/^not_?entail/i)];
    if (typeof entailed !== 'number' || typeof contradicted !== 'number')
      throw new ConfigError({
        path: 'config.json: label2id',
        problem: 'not a model of natural language inference',
        expected: 'labels entailment and contradiction',
        got: names.map(([label]) => label).join(', ') || 'no labels',
      });
    const run = await textModel(model, place);
    async function one(text: string, { labels, texts: pairs }: Hypotheses, several: boolean): Promise<ZeroShot> {
      const cut = { text_pair: pairs, truncation: 'only_first', padding_side: 'right' } as const;
      const { logits } = await run(
        tokenizer(
          labels.map(() => text),
          cut,
        ),
      );
      const rows = labels.map((_, i) => rowOf(logits!, i));
      const against = (row: Float32Array) => softmax([row[contradicted as number]!, row[entailed as number]!])[1]!;
      const scores = several ? rows.map(against) : softmax(rows.map((row) => row[entailed as number]!));
      const order = scores.map((score, i) => ({ score, label: labels[i]! })).sort((a, b) => b.score - a.score);
      return { sequence: text, labels: order.map(({ label }) => label), scores: order.map(({ score }) => score) };
    }
    async function call(texts: string | readonly string[], labels: string | readonly string[], o: ZeroShotOptions = {}) {
      checkOptions('zero-shot-classification', o, { hypothesis_template: true, multi_label: true });
      const asked = hypothesesOf('zero-shot-classification', labels, o.hypothesis_template ?? 'This example is {}.');
      const each = (text: string) => one(text, asked, o.multi_label ?? false);
      if (typeof texts === 'string') return each(texts);
      const results: ZeroShot[] = [];
      for (const text of texts) results.push(await each(text));
      return results;
    }
    return { call: call as ZeroShotClassification, dispose: run.dispose };
  },
};
