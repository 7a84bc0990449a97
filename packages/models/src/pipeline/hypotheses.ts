// Texts that state labels.
import { ConfigError } from '@onnxformers/core';

/** What a zero-shot task is asked. */
export interface Hypotheses {
  readonly labels: readonly string[];
  /** A text for each label. */
  readonly texts: readonly string[];
}

/**
 * The texts of labels, by a template whose `{}` is the label. Labels may be one text, with commas between them.
 *
 * Throws   ConfigError for no labels, and for a template without a place for the label
 */
export function hypothesesOf(task: string, given: string | readonly string[], template: string): Hypotheses {
  const labels = typeof given === 'string' ? given.split(',').map((label) => label.trim()) : given;
  if (!template.includes('{}'))
    throw new ConfigError({
      path: `${task}: hypothesis_template`,
      problem: 'no place for the label',
      expected: 'a text with {}',
      got: template,
    });
  if (!labels.length)
    throw new ConfigError({ path: `${task}: labels`, problem: 'no labels', expected: 'one or more', got: 'none' });
  return { labels, texts: labels.map((label) => template.replace('{}', () => label)) };
}
