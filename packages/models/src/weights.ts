// The weights of a checkpoint, matched with those of a model.
import {
  bytesOfTensor,
  describe,
  type LazyTensor,
  matchWeights,
  nearest,
  type Parameter,
  type Tensor,
  WeightError,
} from '@onnxformers/core';
import type { Family } from './family';
import { formed, type WeightNames } from './names';

/** Weights of a checkpoint, by its names. */
export type Stored = ReadonlyMap<string, LazyTensor>;

/** Buffers that checkpoints carry, computed or masks, that no model needs. */
const buffers =
  /(^|\.)(attn\.(masked_)?bias|attention\.(masked_)?bias|position_ids|rotary_emb\.inv_freq|rotary_emb\.original_inv_freq|relative_position_index)$/;

/** Names of the oldest checkpoints. */
const modern = (name: string): string => name.replace(/\.gamma$/, '.weight').replace(/\.beta$/, '.bias');

/** A checkpoint's weights by complete names: with the prefix of the base model and the present names of norms. */
export interface NamedWeights {
  /** Complete name → the stored name and tensor. */
  readonly byName: ReadonlyMap<string, { readonly stored: string; readonly weight: LazyTensor }>;
  /** Buffers, by their stored names. */
  readonly ignored: readonly string[];
}

/**
 * Completes the names of a checkpoint: a base model is stored without its prefix.
 *
 * Throws   WeightError when two names are one
 */
export function completeNames(stored: Stored, { prefix }: Family, bare: (name: string) => boolean): NamedWeights {
  const byName = new Map<string, { stored: string; weight: LazyTensor }>();
  const ignored: string[] = [];
  for (const [name, weight] of stored) {
    if (buffers.test(name)) {
      ignored.push(name);
      continue;
    }
    const now = modern(name);
    const complete = prefix && !now.startsWith(prefix) && bare(prefix + now) ? prefix + now : now;
    const other = byName.get(complete);
    if (other)
      throw new WeightError({
        path: `weight "${complete}"`,
        problem: 'stored under two names',
        expected: 'one of them',
        got: `${describe(other.stored)} and ${describe(name)}`,
      });
    byName.set(complete, { stored: name, weight });
  }
  return { byName, ignored };
}

/** Whether two stored weights are the same, byte by byte. */
export async function sameWeights(a: LazyTensor, b: LazyTensor): Promise<boolean> {
  if (a.dtype !== b.dtype || `${a.dims}` !== `${b.dims}`) return false;
  const [x, y] = [bytesOfTensor(await a.load()), bytesOfTensor(await b.load())];
  return x.length === y.length && x.every((byte, i) => byte === y[i]);
}

/** The weights of a model, and what became of those of the checkpoint. */
export interface FoundWeights {
  readonly weights: ReadonlyMap<string, LazyTensor>;
  /** Our name → the name in the checkpoint. */
  readonly storedAs: ReadonlyMap<string, string>;
  /** In the checkpoint, of heads that the model does not have. */
  readonly unused: readonly string[];
}

// Number of faults that an error lists.
const most = 4;

/**
 * The weights of a model from a checkpoint's, lazily and in the model's layout.
 *
 * Throws   WeightError for weights that are missing or unknown, by the names of the checkpoint with the nearest, and for dims that do not fit
 */
export function findWeights(
  parameters: ReadonlyMap<string, Parameter>,
  { byName }: NamedWeights,
  names: WeightNames,
  unused: readonly RegExp[],
): FoundWeights {
  const found = new Map<string, LazyTensor | Tensor>();
  const storedAs = new Map<string, string>();
  const unknown: string[] = [];
  const spare: string[] = [];
  for (const [name, { stored, weight }] of byName) {
    const ours = names.oursOf(name).filter((part) => parameters.has(part.name));
    for (const part of ours) {
      found.set(part.name, formed(weight, part.toOurs));
      storedAs.set(part.name, stored);
    }
    if (!ours.length) (unused.some((pattern) => pattern.test(name)) ? spare : unknown).push(stored);
  }
  const missing = [...parameters.keys()].filter((path) => !found.has(path));
  refuse(
    missing.map((path) => names.theirsOf(path) ?? path),
    unknown,
  );
  const { weights } = matchWeights(
    [...parameters].map(([path, { dims }]) => [path, { dims }] as const),
    found,
  );
  return { weights, storedAs, unused: spare };
}

function refuse(missing: readonly string[], unknown: readonly string[]): void {
  const name = missing[0] ?? unknown[0];
  if (name === undefined) return;
  const absent = missing.length > 0;
  const near = nearest(name, absent ? unknown : missing);
  const others = [...missing.map((n) => `"${n}" is missing`), ...unknown.map((n) => `"${n}" is unknown`)].slice(1);
  const also = [...others.slice(0, most - 1), ...(others.length >= most ? [`${others.length - most + 1} more`] : [])].join(', ');
  const told = [near && `The nearest ${absent ? 'unused' : 'missing'} name is "${near}"`, also && `Also: ${also}`];
  throw new WeightError({
    path: `weight "${name}"`,
    problem: absent ? 'missing in the checkpoint' : 'unknown: the family has no weight of this name',
    hint: told.filter(Boolean).join('. ') || 'Is it the checkpoint of this config?',
  });
}
