// Derived inputs: computed from the batch by the runner, or inside the graph where the batch is not an input.
import type { Dim } from '../dim/dim';
import { FeedError, internal } from '../error';
import type { TensorType } from '../ir/define-op';
import { freeInputName } from '../ir/free-names';
import type { Derivation, GraphBuilder, Pool, Value } from '../ir/graph';
import { increasedBy } from '../mask/prefix-tokens';
import { toArray } from '../tensor/convert';
import { countOf, type DType, type NDArray, type Tensor } from '../tensor/tensor';

/** The elements of a feed, in any storage. */
export type Numbers = ArrayLike<number>;

interface Recipe {
  /** By the runner, in plain loops: writes element i to `out[i * stride]` and returns the number of elements. All numbers are below 2^31. */
  compute(from: readonly Numbers[], plus: number, out: Int32Array, stride: number): number;
  /** The dims, if one of them depends on the data. */
  dims?(from: readonly Numbers[], sizes: (d: Dim) => number, type: TensorType, plus: number): readonly number[];
  /** By ops; absent if only the runner can compute it. */
  build?(g: GraphBuilder, from: readonly Value[], type: TensorType, plus: Dim): Value;
}

const recipes: Partial<Record<Derivation, Recipe>> = {
  // Each length l is that of the batch plus a size: 0, or the number of prefix tokens.
  // lengths [batch] → [0, l0, l0 + l1, …]
  offsets: {
    compute([lengths], plus, out, stride) {
      let sum = 0;
      for (let i = 0; i < lengths!.length; i++) out[(i + 1) * stride] = sum += lengths![i]! + plus;
      return lengths!.length + 1;
    },
    build(g, [lengths], { dtype }, plus) {
      const { cast, concat, cumSum } = g.ops;
      return concat([g.number([0], dtype), cumSum(cast(increasedBy(lengths!, plus), dtype), 0)], 0);
    },
  },
  // lengths [batch] → the largest of them
  longest: {
    compute([lengths], plus, out) {
      out[0] = largest(lengths!) + plus;
      return 1;
    },
    build(g, [lengths], { dtype }, plus) {
      const { add, cast, reduceMax, size } = g.ops;
      return cast(add(reduceMax(lengths!, [0], { keepDims: false }), size(g, plus)), dtype);
    },
  },
  // lengths [batch] → [batch, longest]: the indices of the tokens in a padded batch, in order, then those of the padding
  tokenOffset: {
    dims: ([lengths], sizes, { dims }, plus) => [sizes(dims[0]!), largest(lengths!) + plus],
    compute([lengths], plus, out, stride) {
      const width = largest(lengths!) + plus;
      let at = 0;
      for (let b = 0; b < lengths!.length; b++) for (let i = 0; i < lengths![b]! + plus; i++) out[at++ * stride] = b * width + i;
      for (let b = 0; b < lengths!.length; b++)
        for (let i = lengths![b]! + plus; i < width; i++) out[at++ * stride] = b * width + i;
      return at;
    },
  },
  // lengths [batch] → [tokens]: 0 … l0 − 1, 0 … l1 − 1, …
  positions: {
    compute([lengths], plus, out, stride) {
      let at = 0;
      for (let b = 0; b < lengths!.length; b++) for (let i = 0; i < lengths![b]! + plus; i++) out[at++ * stride] = i;
      return at;
    },
    build(g, [given], { dims }, plus) {
      const { cast, cumSum, gather, greaterOrEqual, iota, reduceSum, sub, unsqueeze } = g.ops;
      const token = iota(g, dims[0]!);
      const lengths = increasedBy(given!, plus);
      const ends = cumSum(lengths, 0);
      const sequence = reduceSum(cast(greaterOrEqual(unsqueeze(token, [1]), unsqueeze(ends, [0])), 'int64'), [1], {
        keepDims: false,
      });
      const starts = sub(ends, lengths);
      return sub(token, gather(starts, sequence, 0));
    },
  },
};

function largest(numbers: Numbers): number {
  let most = 0;
  for (let i = 0; i < numbers.length; i++) if (numbers[i]! > most) most = numbers[i]!;
  return most;
}

/**
 * A value that a kernel or a layout requires and that users do not feed. A derived input of the model if all of `from` are inputs, otherwise computed by ops.
 *
 * Shapes   as `type` says
 * Throws   ShapeError when a size that ops need cannot be read from the graph's inputs; an internal error for derivations that only a runner can compute
 * Lowers   everywhere: an input, or CumSum, Range and comparisons inside a Loop
 */
export function derive(g: GraphBuilder, how: Derivation, type: TensorType, from: readonly Value[], plus: Dim = 0): Value {
  const inputs = from.every((v) => v.leaf && g.root.inputs.includes(v));
  const name = [how, ...from.map((v) => (v.leaf as { name?: string } | undefined)?.name)].join('_of_');
  if (inputs) {
    const full = plus === 0 || how === 'past_lengths' ? name : `${name} + ${plus}`;
    // Users feed past_lengths, so its name is fixed.
    return g.derivedInput(how === 'past_lengths' ? full : freeInputName(g, full), type, how, from, plus);
  }
  const build = recipes[how]?.build;
  if (!build) throw internal(`${how} cannot be computed inside a graph`);
  return g.ops.reshape(build(g, from, type, plus), type.dims);
}

/** The same as `derivedTensor`, from arrays to an array of float64: for the interpreter. */
export function computeDerived(
  how: Derivation,
  from: readonly NDArray[],
  sizes: (d: Dim) => number,
  type: TensorType,
  plus: Dim = 0,
  pool?: Pool,
): NDArray | undefined {
  const numbers = from.map(({ data }) => data);
  const computed = derivedTensor(how, numbers, sizes, type, plus, pool);
  return computed && toArray(computed);
}

/** The value that the runner computes for a derived input; undefined if only the caller can provide it. */
export function derivedTensor(
  how: Derivation,
  from: readonly Numbers[],
  sizes: (d: Dim) => number,
  type: TensorType,
  plus: Dim = 0,
  pool?: Pool,
): Tensor | undefined {
  if (how === 'blockTable' && pool) return shareBlocks(pool, from[0], sizes, type, sizes(plus));
  const recipe = Object.hasOwn(recipes, how) ? recipes[how] : undefined;
  if (!recipe) return undefined;
  const dims = recipe.dims?.(from, sizes, type, sizes(plus)) ?? type.dims.map(sizes);
  return filled(type.dtype, dims, (out, stride) => recipe.compute(from, sizes(plus), out, stride));
}

/** A tensor with the same integer in every element, from 0 to 2^31 − 1. */
export const filledWith = (dtype: DType, dims: readonly number[], value: number): Tensor =>
  filled(dtype, dims, (out, stride) => {
    const count = countOf(dims);
    for (let i = 0; i < count; i++) out[i * stride] = value;
    return count;
  });

/** A tensor of integers from 0 to 2^31 − 1, written without bigints: an int64 is two words, the lower one first. */
function filled(dtype: DType, dims: readonly number[], write: (out: Int32Array, stride: number) => number): Tensor {
  const count = countOf(dims);
  if (dtype !== 'int32' && dtype !== 'int64') throw internal(`derived inputs are integers, not ${dtype}`);
  const data = dtype === 'int32' ? new Int32Array(count) : new BigInt64Array(count);
  const written = write(new Int32Array(data.buffer), dtype === 'int32' ? 1 : 2);
  if (written !== count) throw internal(`${written} numbers were derived for [${dims}]`);
  return { dtype, dims, data };
}

// Every sequence of the batch has the same number of blocks. A table without a known width has the width that the longest sequence needs.
function shareBlocks(
  { blocks, blockSize }: Pool,
  pastLengths: Numbers | undefined,
  sizes: (d: Dim) => number,
  { dtype, dims: [sequences, columns] }: TensorType,
  seq: number,
): Tensor {
  const batch = sizes(sequences!);
  const held = pastLengths ?? [];
  const width = typeof columns === 'number' ? columns : Math.max(1, Math.ceil((largest(held) + seq) / blockSize));
  const share = Math.floor(blocks / Math.max(1, batch));
  let smallest = 0;
  for (let i = 0; i < held.length; i++) smallest = Math.min(smallest, held[i]!);
  if (width > share || smallest < 0)
    throw new FeedError({
      path: 'feed "past_lengths"',
      problem: smallest < 0 ? 'a negative number of positions' : 'the pool has too few blocks for the new tokens',
      expected: `at most ${share} of the ${blocks} blocks for each of ${batch} sequences, ${blockSize} positions in each`,
      got: smallest < 0 ? String(smallest) : `${width} blocks`,
      hint: 'Compile with more blocks, or feed a block_table',
    });
  return filled(dtype, [batch, width], (out, stride) => {
    for (let i = 0; i < batch * width; i++) out[i * stride] = Math.floor(i / width) * share + (i % width);
    return batch * width;
  });
}
