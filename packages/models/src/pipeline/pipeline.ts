// A task on texts, images or sounds in one call: preprocessors, model, session.
import { ConfigError, checkOptions, describe, nearest, type Ort } from '@onnxformers/core';
import { audioProcessor } from '../audio/audio-processor';
import type { Family } from '../family';
import { type FilesByName, fetchFile, type PretrainedFiles } from '../files';
import { fromPretrained } from '../from-pretrained';
import { withoutEffect } from '../generation/settings';
import type { Sharp } from '../images/decode';
import { imageProcessor } from '../images/image-processor';
import { towersOf } from '../parts';
import { type PlaceOptions, placeOf } from '../place';
import type { Compilable, Pretrained } from '../pretrained';
import { loadTokenizer } from '../tokenizer/tokenizer';
import { generationDefaults } from './generation-defaults';
import type { Preprocessors, ReadAddress, TaskDefinition } from './task';
import { aliases, pipelineTasks } from './tasks';

type Tasks = typeof pipelineTasks;

/** The name of a task. */
export type PipelineTask = keyof Tasks | keyof typeof aliases;

type DefinitionOf<T extends PipelineTask> = Tasks[T extends keyof Tasks
  ? T
  : T extends keyof typeof aliases
    ? (typeof aliases)[T]
    : never];

/** The function of a task. */
export type PipelineCall<T extends PipelineTask> = DefinitionOf<T> extends TaskDefinition<infer F, infer _R> ? F : never;

/** Options of {@link pipeline}. */
export interface PipelineOptions extends PlaceOptions {
  /** Decodes files of images in Node.js: `import sharp from 'sharp'`. In a browser the platform does. */
  readonly sharp?: Sharp;
  /** Families of your own. */
  readonly families?: readonly Family[];
}

/** What a pipeline has besides its function. */
export interface PipelineParts {
  readonly model: Pretrained;
  /** Settings of the checkpoint's `generation_config.json` that have no effect here, such as beams. */
  readonly ignored: readonly string[];
  /** Frees the sessions. */
  dispose(): Promise<void>;
}

/** A function on texts, images or sounds, with its model, and what makes the model's inputs: `tokenizer`, `imageProcessor`, `audioProcessor`. */
export type Pipeline<T extends PipelineTask> = PipelineCall<T> &
  PipelineParts &
  Pick<Preprocessors, DefinitionOf<T>['reads'][number]>;

/**
 * A pretrained model for a task, as a function on texts, images or sounds: the preprocessing, the compiled model and its session. Options and results
 * have the names of transformers.js.
 *
 * Throws   ConfigError for an unknown task with the nearest, for a checkpoint with the head of another task or other inputs, and for an unknown option ·
 *          FileError and WeightError as `fromPretrained`, `loadTokenizer`, `imageProcessor` and `audioProcessor`
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
  checkOptions('pipeline', o, { device: true, dtype: true, families: true, sharp: true });
  const definition = definitionOf(task);
  const place = placeOf(ort, o);
  const { head } = definition;
  const model = await fromPretrained(files, {
    ...(head === 'base' && { task: 'base' }),
    ...(o.families && { families: o.families }),
  });
  checkCheckpoint(task, definition, model);
  const preprocessors = await preprocessorsOf(definition, model);
  const part = partFor(definition, model);
  const { call, dispose } = await definition.open({ model, part, place, read, sharp: o.sharp, ...preprocessors });
  const generates = head === 'causal_lm' || head === 'seq2seq_lm';
  const ignored = generates ? withoutEffect(await generationDefaults(model)) : [];
  return Object.assign(call as object, { model, ...preprocessors, ignored, dispose }) as unknown as Pipeline<T>;
}

type Definition = TaskDefinition<unknown, keyof Preprocessors>;

const loaders = { tokenizer: loadTokenizer, imageProcessor, audioProcessor } as const;

/** Those that a task reads with. */
async function preprocessorsOf({ reads }: Definition, { files }: Pretrained): Promise<Preprocessors> {
  const loaded: [string, unknown][] = [];
  for (const name of reads) loaded.push([name, await loaders[name](files)]);
  return Object.fromEntries(loaded) as unknown as Preprocessors;
}

const partFor = ({ tower }: Definition, model: Pretrained): Compilable =>
  tower && model.module.blockName === 'dual_encoder' ? towersOf(model)[tower] : model;

function definitionOf(task: string): Definition {
  const name = Object.hasOwn(aliases, task) ? aliases[task as keyof typeof aliases] : task;
  if (Object.hasOwn(pipelineTasks, name)) return pipelineTasks[name as keyof Tasks] as Definition;
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

/** Inputs of models, and what makes them. */
const madeBy: Readonly<Record<string, keyof Preprocessors>> = {
  ids: 'tokenizer',
  decoder_ids: 'tokenizer',
  pixels: 'imageProcessor',
  features: 'audioProcessor',
};

/** Whether a task reads what the model, or the part of it that the task uses, has inputs for. */
function fits(definition: Definition, model: Pretrained): boolean {
  const needed = new Set(Object.keys(partFor(definition, model).inputs).flatMap((input) => madeBy[input] ?? []));
  return needed.size === definition.reads.length && definition.reads.every((name) => needed.has(name));
}

function checkCheckpoint(task: string, definition: Definition, model: Pretrained): void {
  const { head } = definition;
  const right = model.task === head;
  if (right && fits(definition, model)) return;
  const possible = Object.entries(pipelineTasks as unknown as Readonly<Record<string, Definition>>).flatMap(([name, other]) =>
    (other.head === model.task || other.head === 'base') && fits(other, model) ? [name] : [],
  );
  throw new ConfigError({
    path: `pipeline: ${task}`,
    problem: right ? 'the checkpoint is of a model with other inputs' : `the checkpoint has no head for it (${head})`,
    expected: possible.join(', '),
    got: `${describe(model.original.architectures)} (${model.task})`,
    hint: 'Choose a task that the checkpoint is for, or a checkpoint that was trained for this task',
  });
}
