// A task on texts in one call: tokenizer, model, session.
import { ConfigError, checkOptions, describe, nearest, type Ort } from '@onnxformers/core';
import type { Family } from '../family';
import { type FilesByName, fetchFile, type PretrainedFiles } from '../files';
import { fromPretrained } from '../from-pretrained';
import { withoutEffect } from '../generation/settings';
import { type PlaceOptions, placeOf } from '../place';
import type { Pretrained } from '../pretrained';
import type { Task } from '../task';
import { loadTokenizer, type Tokenizer } from '../tokenizer/tokenizer';
import { generationDefaults } from './generation-defaults';
import type { ReadAddress, TaskDefinition } from './task';
import { aliases, pipelineTasks } from './tasks';

type Tasks = typeof pipelineTasks;

/** The name of a task. */
export type PipelineTask = keyof Tasks | keyof typeof aliases;

/** The function of a task. */
export type PipelineCall<T extends PipelineTask> =
  Tasks[T extends keyof Tasks ? T : T extends keyof typeof aliases ? (typeof aliases)[T] : never] extends TaskDefinition<infer F>
    ? F
    : never;

/** Options of {@link pipeline}. */
export interface PipelineOptions extends PlaceOptions {
  /** Families of your own. */
  readonly families?: readonly Family[];
}

/** What a pipeline has besides its function. */
export interface PipelineParts {
  readonly model: Pretrained;
  readonly tokenizer: Tokenizer;
  /** Settings of the checkpoint's `generation_config.json` that have no effect here, such as beams. */
  readonly ignored: readonly string[];
  /** Frees the sessions. */
  dispose(): Promise<void>;
}

/** A function on texts, with its model and its tokenizer. */
export type Pipeline<T extends PipelineTask> = PipelineCall<T> & PipelineParts;

/**
 * A pretrained model for a task, as a function on texts: the tokenizer, the compiled model and its session. Options and results have the names of transformers.js.
 *
 * Throws   ConfigError for an unknown task with the nearest, for a checkpoint with the head of another task, and for an unknown option · FileError and WeightError as
 *          `fromPretrained` and `loadTokenizer`
 *
 * Example  const embed = await pipeline('feature-extraction', filesAt('https://example.org/minilm/'), ort);
 *            const vectors = await embed(['one text', 'another'], { pooling: 'mean', normalize: true });
 */
export const pipeline = <T extends PipelineTask>(
  task: T,
  files: PretrainedFiles | FilesByName,
  ort: Ort,
  o: PipelineOptions = {},
): Promise<Pipeline<T>> => openPipeline(task, files, ort, o, fetchFile);

/** {@link pipeline}, with a way to read the files that calls name. */
export async function openPipeline<T extends PipelineTask>(
  task: T,
  files: PretrainedFiles | FilesByName,
  ort: Ort,
  o: PipelineOptions,
  read: ReadAddress,
): Promise<Pipeline<T>> {
  checkOptions('pipeline', o, { device: true, dtype: true, families: true });
  const definition = definitionOf(task);
  const place = placeOf(ort, o);
  const { head } = definition;
  const model = await fromPretrained(files, {
    ...(head === 'base' && { task: 'base' }),
    ...(o.families && { families: o.families }),
  });
  checkHead(task, head, model);
  const tokenizer = await loadTokenizer(model.files);
  const { call, dispose } = await definition.open({ model, tokenizer, place, read });
  const generates = head === 'causal_lm' || head === 'seq2seq_lm';
  const ignored = generates ? withoutEffect(await generationDefaults(model)) : [];
  return Object.assign(call as object, { model, tokenizer, ignored, dispose }) as Pipeline<T>;
}

function definitionOf(task: string): TaskDefinition<unknown> {
  const name = Object.hasOwn(aliases, task) ? aliases[task as keyof typeof aliases] : task;
  if (Object.hasOwn(pipelineTasks, name)) return pipelineTasks[name as keyof Tasks];
  const names = [...Object.keys(pipelineTasks), ...Object.keys(aliases)];
  const near = typeof task === 'string' ? nearest(task, names) : undefined;
  throw new ConfigError({
    path: 'pipeline: task',
    problem: 'unknown task',
    expected: Object.keys(pipelineTasks).join(', '),
    got: describe(task),
    ...(near && { hint: `Did you mean "${near}"?` }),
  });
}

function checkHead(task: string, head: Task, model: Pretrained): void {
  if (model.task === head) return;
  const possible = Object.entries<TaskDefinition<never>>(pipelineTasks as never).flatMap(([name, definition]) =>
    definition.head === model.task || definition.head === 'base' ? [name] : [],
  );
  throw new ConfigError({
    path: `pipeline: ${task}`,
    problem: `the checkpoint has no head for it (${head})`,
    expected: possible.join(', '),
    got: `${describe(model.original.architectures)} (${model.task})`,
    hint: 'Choose a task that the checkpoint is for, or a checkpoint that was trained for this task',
  });
}
