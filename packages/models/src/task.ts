// What a checkpoint's model is for: its head.
import { ConfigError, describe, nearest } from '@onnxformers/core';
import type { ConfigReader } from './config';

/** The heads of models. */
export const tasks = [
  'base',
  'masked_lm',
  'causal_lm',
  'seq2seq_lm',
  'sequence_classification',
  'token_classification',
  'question_answering',
  'replaced_token_detection',
  'image_classification',
] as const;

/** What a model is for: which head it has. `base` has none and returns hidden states. */
export type Task = (typeof tasks)[number];

/** Ends of the names of architectures. The first that matches. */
const heads: readonly (readonly [RegExp, Task])[] = [
  [/^ElectraForPreTraining$/, 'replaced_token_detection'],
  [/For(MaskedLM|PreTraining)$/, 'masked_lm'],
  [/(ForCausalLM|LMHeadModel)$/, 'causal_lm'],
  [/(ForConditionalGeneration|MTModel)$/, 'seq2seq_lm'],
  [/ForSequenceClassification$/, 'sequence_classification'],
  [/ForTokenClassification$/, 'token_classification'],
  [/ForQuestionAnswering$/, 'question_answering'],
  [/ForImageClassification(WithTeacher)?$/, 'image_classification'],
  [/Model(WithProjection)?$/, 'base'],
];

/**
 * The task that the architecture of a config names; `base` without one.
 *
 * Throws   ConfigError for an architecture whose head is not known
 */
export function taskOf(config: ConfigReader): Task {
  const [architecture] = config.list('architectures') ?? [];
  if (architecture === undefined) return 'base';
  const task = heads.find(([end]) => end.test(String(architecture)))?.[1];
  if (task) return task;
  throw new ConfigError({
    path: `${config.path}: architectures`,
    problem: 'an architecture with an unknown head',
    expected: 'a name that ends with Model, ForMaskedLM, ForCausalLM, ForSequenceClassification, …',
    got: describe(architecture),
    hint: `State the task: ${tasks.join(', ')}`,
  });
}

/** Throws   ConfigError for a word that is not a task */
export function checkTask(task: unknown): asserts task is Task {
  if (tasks.includes(task as Task)) return;
  const near = nearest(String(task), tasks);
  throw new ConfigError({
    path: 'task',
    problem: 'unknown task',
    expected: tasks.join(', '),
    got: describe(task),
    ...(near && { hint: `Did you mean "${near}"?` }),
  });
}
