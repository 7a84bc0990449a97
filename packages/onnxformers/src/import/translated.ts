// A translated config of another library: a config of this one, and the names of its weights.
import type { Kind, Tensor } from '@onnxformers/core';

/** A config for `zoo.parse(kind, config)`. */
export type OurConfig = { readonly name: string; readonly [field: string]: unknown };

/** One translated config. */
export interface Translated<K extends Kind = Kind> {
  readonly kind: K;
  readonly config: OurConfig;
  /** Patterns of weight names: of the other library, of this one. */
  readonly names: readonly (readonly [foreign: string, ours: string])[];
  /** Patterns of names that the other library saves and that are not used here. */
  readonly unused: readonly string[];
  /** Weights of this library that are not in the other one's checkpoints: zeros of a length, unless there is a tensor. */
  readonly added: readonly { readonly name: string; readonly length: number; readonly tensor?: Tensor }[];
}

/** The config of a block without weights. */
export const plain = <K extends Kind>(kind: K, config: OurConfig): Translated<K> => ({
  kind,
  config,
  names: [],
  unused: [],
  added: [],
});

type Weights = Pick<Translated, 'names' | 'unused' | 'added'>;

/** The weights of a part, with the prefixes (and their dots) that they have in the containing module. */
export function under(foreign: string, ours: string, part: Weights): Weights {
  return {
    names: part.names.map(([theirs, own]) => [foreign + theirs, ours + own]),
    unused: part.unused.map((name) => foreign + name),
    added: part.added.map(({ name, ...values }) => ({ name: ours + name, ...values })),
  };
}

/** The weights of several parts. */
export const together = (...parts: readonly Weights[]): Weights => ({
  names: parts.flatMap((p) => p.names),
  unused: parts.flatMap((p) => p.unused),
  added: parts.flatMap((p) => p.added),
});

/** A renamed layer: all names below it. */
export const renamed = (...pairs: readonly (readonly [foreign: string, ours: string])[]): Weights => ({
  names: pairs.map(([foreign, ours]) => [`${foreign}.{x}`, `${ours}.{x}`]),
  unused: [],
  added: [],
});
