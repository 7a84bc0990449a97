// A family of models: how its config.json becomes a config of ours, and its names of weights ours.
import { ConfigError, nearest } from '@onnxformers/core';
import type { ConfigReader } from './config';
import type { NameEntry, PackedEntry } from './names';
import type { Task } from './task';

/** A config of a block: its name and options. */
export type BlockConfig = { readonly name: string; readonly [option: string]: unknown };

/** What a family's translation may ask. */
export interface Checkpoint {
  readonly task: Task;
  /** Whether a weight is stored, by its name with the prefix of the base model. A head that only repeats its tied embedding counts as absent. */
  has(name: string): boolean;
}

/** A model of a family in our terms. */
export interface Translation {
  /** For `zoo.parse('model', config)`. */
  readonly config: BlockConfig;
  readonly names: readonly NameEntry[];
  /** Stored tensors that hold several weights; they are looked up first. */
  readonly packed?: readonly PackedEntry[];
  /** Whether texts usually come with a mask of their padding. Default true. */
  readonly masked?: boolean;
  /** Rows and columns of pixels of all images, if their positions have places for no others. */
  readonly imageSize?: number;
}

/** A family of models: one file. */
export interface Family {
  /** `model_type` of its configs. */
  readonly modelTypes: readonly string[];
  /** Tasks that it has a head for. */
  readonly tasks: readonly Task[];
  /** Begins the names of the base model's weights in a checkpoint with a head: `bert.`. Without a head it is usually absent. */
  readonly prefix: string;
  /** Weights that another task has, or none of ours uses. They may be in the checkpoint and are reported as unused. */
  readonly unused?: readonly RegExp[];
  /** Weights that may be stored once more under another name: the other name, and the one in `names`. */
  readonly repeated?: readonly (readonly [copy: string, weight: string])[];
  /** Config, names. */
  translate(config: ConfigReader, checkpoint: Checkpoint): Translation;
}

/** The problem of an error for a `model_type` of no family. */
export const unknownFamily = 'a family that is not known';

/**
 * The family of a `model_type`.
 *
 * Throws   ConfigError for one that is in no family, with the nearest
 */
export function familyOf(config: ConfigReader, families: readonly Family[]): Family {
  const type = config.text('model_type');
  const found = families.find(({ modelTypes }) => modelTypes.includes(type));
  if (found) return found;
  const known = families.flatMap(({ modelTypes }) => modelTypes);
  const near = nearest(type, known);
  throw new ConfigError({
    path: `${config.path}: model_type`,
    problem: unknownFamily,
    expected: known.join(', '),
    got: type,
    hint: `${near ? `The nearest is "${near}". ` : ''}The guide "Add a family" shows how to add one: fromPretrained(files, { families: [myFamily] })`,
  });
}
