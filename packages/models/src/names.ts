// Names and layouts of weights in checkpoints of Hugging Face, and their counterparts in our modules.
import { checkArguments } from '@onnxformers/core';
import { expressWeight, type LazyTensor, nameMap, ops, type Tensor, type Value } from 'onnxformers';

/** How a stored tensor differs from ours: an expression in ops for each direction. */
export interface Form {
  /** Our tensor from the stored one. */
  toOurs(theirs: Value): Value;
  /** The stored tensor from ours. */
  toTheirs(ours: Value): Value;
}

/**
 * Names of one or many weights, as patterns (see `nameMap`), and the form of the stored tensors if it is another. Their names include the prefix of the
 * base model.
 */
export type NameEntry = readonly [theirs: string, ours: string, form?: Form];

/** A stored tensor that holds several weights of ours: gates and other maps of many experts, queries and their gates. */
export interface PackedEntry {
  readonly theirs: string;
  /** Names of the parts. */
  readonly ours: readonly string[];
  /** One part. */
  take(theirs: Value, part: number): Value;
  /** All parts together again. */
  join(ours: readonly Value[]): Value;
}

/** One weight of ours in a stored tensor. */
export interface StoredPart {
  readonly name: string;
  /** From the stored tensor, if that is another. */
  readonly toOurs?: ((theirs: Value) => Value) | undefined;
}

/** The names of a model in both directions. */
export interface WeightNames {
  /** What a stored weight contains: usually one weight, nothing if its name is unknown. */
  oursOf(theirs: string): readonly StoredPart[];
  /** The stored name of a weight. */
  theirsOf(ours: string): string | undefined;
  /** The stored tensor of a name from the weights that it contains. */
  toTheirs(theirs: string, ours: readonly Value[]): Value;
}

/** The names of lists of entries; the first that matches is used. */
export function weightNames(entries: readonly NameEntry[], packed: readonly PackedEntry[] = []): WeightNames {
  const map = nameMap(entries.map(([theirs, ours]) => [theirs, ours]));
  const formed = entries.flatMap((entry) => (entry[2] ? [{ one: nameMap([[entry[0], entry[1]]]), form: entry[2] }] : []));
  const several = packed.map((entry) => ({ entry, parts: entry.ours.map((ours) => nameMap([[entry.theirs, ours]])) }));
  const formOf = (theirs: string): Form | undefined => {
    const ours = map.toOurs(theirs);
    return ours === undefined ? undefined : formed.find(({ one }) => one.toOurs(theirs) === ours)?.form;
  };
  const packedAs = (theirs: string) => several.find(({ parts }) => parts[0]?.toOurs(theirs) !== undefined);
  return {
    oursOf(theirs) {
      const found = packedAs(theirs);
      if (found)
        return found.parts.map((part, i) => ({ name: part.toOurs(theirs)!, toOurs: (x: Value) => found.entry.take(x, i) }));
      const name = map.toOurs(theirs);
      return name === undefined ? [] : [{ name, toOurs: formOf(theirs)?.toOurs }];
    },
    theirsOf(ours) {
      for (const { parts } of several)
        for (const part of parts) {
          const theirs = part.toForeign(ours);
          if (theirs !== undefined) return theirs;
        }
      return map.toForeign(ours);
    },
    toTheirs(theirs, ours) {
      const found = packedAs(theirs);
      return found ? found.entry.join(ours) : (formOf(theirs)?.toTheirs ?? ((x: Value) => x))(ours[0]!);
    },
  };
}

/** A weight in another form. */
export const formed = (weight: LazyTensor | Tensor, form: ((x: Value) => Value) | undefined): LazyTensor | Tensor =>
  form ? expressWeight([weight], form) : weight;

const turned = (x: Value): Value => (x.rank === 2 ? ops.transpose(x, [1, 0]) : x);

/** Linear maps stored as [in, out]; vectors stay as they are. */
export const transposed: Form = { toOurs: turned, toTheirs: turned };

/**
 * Rows in groups, stored in another order: the axes [a, b, …] of the groups are permuted. `[heads, 3, headDim]` by `[1, 0, 2]` turns queries, keys and values of each head
 * into all queries, all keys, all values.
 */
export function regrouped(groups: readonly number[], order: readonly number[]): Form {
  checkArguments('regrouped', { groups, order });
  const inverse = order.map((_, axis) => order.indexOf(axis));
  const permute = (x: Value, from: readonly number[], by: readonly number[]): Value => {
    const rest = x.dims.slice(1);
    const axes = [...by, ...rest.map((_, i) => from.length + i)];
    return ops.reshape(ops.transpose(ops.reshape(x, [...from, ...rest]), axes), x.dims);
  };
  return {
    toOurs: (x) => permute(x, groups, order),
    toTheirs: (x) =>
      permute(
        x,
        order.map((axis) => groups[axis]!),
        inverse,
      ),
  };
}

/** Rows in blocks of `size` rows, stored in another order: our block i is their block `order[i]`. */
export function reordered(order: readonly number[], size: number): Form {
  checkArguments('reordered', { order });
  const blocks = (x: Value, at: readonly number[]): Value => {
    const one = (i: number): Value => ops.slice(x, { axes: [0], starts: [i * size], ends: [(i + 1) * size] });
    return ops.concat(at.map(one), 0);
  };
  const inverse = order.map((_, i) => order.indexOf(i));
  return { toOurs: (x) => blocks(x, order), toTheirs: (x) => blocks(x, inverse) };
}

/** The same elements in other dims. */
export const reshaped = (theirs: readonly number[], ours: readonly number[]): Form => ({
  toOurs: (x) => ops.reshape(x, ours),
  toTheirs: (x) => ops.reshape(x, theirs),
});
