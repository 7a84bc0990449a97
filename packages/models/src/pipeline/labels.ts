// Labels of what was classified, with their scores.
import type { Pretrained } from '../pretrained';
import { best, softmax } from './model';

/** A label with its score. */
export interface Label {
  readonly label: string;
  readonly score: number;
}

/** Independent probabilities. */
export const sigmoid = (logits: ArrayLike<number>): number[] => Array.from(logits, (x) => 1 / (1 + Math.exp(-x)));

/** What makes scores of logits: several labels may hold at once, or one of them; a regression has no scores. */
function scoresOf({ original }: Pretrained, logits: Float32Array): number[] {
  if (original.problem_type === 'regression') return Array.from(logits);
  return (original.problem_type === 'multi_label_classification' || logits.length === 1 ? sigmoid : softmax)(logits);
}

/** The name of a label in config.json; the usual one without. */
export function labelOf({ original }: Pretrained, index: number): string {
  const labels = original.id2label as Readonly<Record<string, unknown>> | undefined;
  return String(labels?.[index] ?? `LABEL_${index}`);
}

/** The best labels of logits, all if `count` is null. */
export const bestLabels = (model: Pretrained, logits: Float32Array, count: number | null): Label[] =>
  best(scoresOf(model, logits), count).map(({ index, score }) => ({ label: labelOf(model, index), score }));
