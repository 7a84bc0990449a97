// Names and layouts of weights in checkpoints of Hugging Face, and their counterparts in our modules.
import { expressWeight, type LazyTensor, type NameMap, nameMap, ops, type Tensor, type Value } from 'onnxformers';

/** How a stored tensor differs from ours: an expression in ops for each direction. */
export interface Form {
  toOurs(theirs: Value): Value;
  toTheirs(ours: Value): Value;
}

/**
 * Names of one or many weights, as patterns (see `nameMap`), and the form of the stored tensors if it is another. Their names include the prefix of the
 * base model.
 */
export type NameEntry = readonly [theirs: string, ours: string, form?: Form];

/** The names of a model in both directions. */
export interface WeightNames {
  readonly map: NameMap;
  /** Another form of the weight, by our name. */
  formOf(ours: string): Form | undefined;
}

/** The names of a list of entries; the first that matches is used. */
export function weightNames(entries: readonly NameEntry[]): WeightNames {
  const map = nameMap(entries.map(([theirs, ours]) => [theirs, ours]));
  const formed = entries.flatMap((entry) => (entry[2] ? [{ one: nameMap([[entry[0], entry[1]]]), form: entry[2] }] : []));
  return {
    map,
    formOf: (ours) => {
      const theirs = map.toForeign(ours);
      return theirs === undefined ? undefined : formed.find(({ one }) => one.toOurs(theirs) === ours)?.form;
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
