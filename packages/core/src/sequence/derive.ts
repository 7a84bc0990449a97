// Inputs that no user writes down: computed from the batch by the runner, or inside the graph where the batch is not an input.
import type { Dim } from '../dim/dim';
import { FeedError, internal } from '../error';
import type { TensorType } from '../ir/define-op';
import type { Derivation, GraphBuilder, Pool, Value } from '../ir/graph';
import { cast } from '../ops/cast';
import { greaterOrEqual } from '../ops/comparison';
import { add, sub } from '../ops/elementwise';
import { concat, reshape, unsqueeze } from '../ops/movement';
import { reduceMax, reduceSum } from '../ops/reduce';
import { cumSum } from '../ops/scan';
import { gather } from '../ops/select';
import { iota, size } from '../ops/shape';
import { countOf, type NDArray } from '../tensor/tensor';

interface Recipe {
  /** By the runner. */
  compute(from: readonly NDArray[], sizes: (d: Dim) => number, type: TensorType, plus: number): Float64Array;
  /** The dims, where one of them is known from the data only. */
  dims?(from: readonly NDArray[], sizes: (d: Dim) => number, type: TensorType): readonly number[];
  /** By ops; absent: only the runner can. */
  build?(g: GraphBuilder, from: readonly Value[], type: TensorType, plus: Dim): Value;
}

const recipes: Partial<Record<Derivation, Recipe>> = {
  // lengths [batch] → [0, l0, l0 + l1, …]; the size is what they must add up to, which the runner checks
  offsets: {
    compute([lengths]) {
      const out = new Float64Array(lengths!.data.length + 1);
      lengths!.data.forEach((n, i) => (out[i + 1] = out[i]! + n));
      return out;
    },
    build: (g, [lengths], { dtype }) => concat([g.number([0], dtype), cumSum(cast(lengths!, dtype), 0)], 0),
  },
  // lengths [batch] → the largest of them, plus a size
  longest: {
    compute: ([lengths], _, __, plus) => Float64Array.of(largest(lengths!) + plus),
    build: (g, [lengths], { dtype }, plus) => cast(add(reduceMax(lengths!, [0], { keepDims: false }), size(g, plus)), dtype),
  },
  // lengths [batch] → [batch, longest]: where the tokens would stand in a padded batch, in order, then where the padding would
  tokenOffset: {
    dims: ([lengths], sizes, { dims }) => [sizes(dims[0]!), largest(lengths!)],
    compute([lengths]) {
      const width = largest(lengths!);
      const places = Array.from({ length: lengths!.data.length * width }, (_, i) => i);
      const holds = (place: number): boolean => place % width < lengths!.data[Math.floor(place / width)]!;
      return Float64Array.from([...places.filter(holds), ...places.filter((place) => !holds(place))]);
    },
  },
  // lengths [batch] → [tokens]: 0 … l0 − 1, 0 … l1 − 1, …
  positions: {
    compute([lengths], sizes, { dims }) {
      const out = new Float64Array(dims.reduce<number>((n, d) => n * sizes(d), 1));
      let at = 0;
      for (const n of lengths!.data) for (let i = 0; i < n; i++) out[at++] = i;
      return out;
    },
    build(g, [lengths], { dims }) {
      const token = iota(g, dims[0]!);
      const ends = cumSum(lengths!, 0);
      const sequence = reduceSum(cast(greaterOrEqual(unsqueeze(token, [1]), unsqueeze(ends, [0])), 'int64'), [1], {
        keepDims: false,
      });
      const starts = sub(ends, lengths!);
      return sub(token, gather(starts, sequence, 0));
    },
  },
};

const largest = ({ data }: NDArray): number => data.reduce((a, b) => Math.max(a, b), 0);

/**
 * A value that a kernel or a layout needs and no user gives. An input of the model where everything in `from` is one, else computed by ops.
 *
 * Shapes   as `type` says
 * Throws   ShapeError when a size that ops need cannot be read from the graph's inputs; an internal fault for what runners alone can make
 * Lowers   everywhere: an input, or CumSum, Range and comparisons inside of a Loop
 */
export function derive(g: GraphBuilder, how: Derivation, type: TensorType, from: readonly Value[], plus: Dim = 0): Value {
  const inputs = from.every((v) => v.leaf && g.root.inputs.includes(v));
  const name = [how, ...from.map((v) => (v.leaf as { name?: string } | undefined)?.name)].join('_of_');
  if (inputs)
    return g.derivedInput(
      plus === 0 || how === 'past_lengths' || how === 'offsets' ? name : `${name} + ${plus}`,
      type,
      how,
      from,
      plus,
    );
  const build = recipes[how]?.build;
  if (!build) throw internal(`${how} cannot be computed inside a graph`);
  return reshape(build(g, from, type, plus), type.dims);
}

/** What the runner computes for a derived input; undefined when only the caller can know it. */
export function computeDerived(
  how: Derivation,
  from: readonly NDArray[],
  sizes: (d: Dim) => number,
  type: TensorType,
  plus: Dim = 0,
  pool?: Pool,
): NDArray | undefined {
  if (how === 'blockTable' && pool) return shareBlocks(pool, from[0], sizes, type, sizes(plus));
  const recipe = Object.hasOwn(recipes, how) ? recipes[how] : undefined;
  if (!recipe) return undefined;
  const dims = recipe.dims?.(from, sizes, type) ?? type.dims.map(sizes);
  const data = recipe.compute(from, sizes, type, sizes(plus));
  if (data.length !== countOf(dims)) throw internal(`${how} gave ${data.length} numbers for [${dims}]`);
  return { dtype: type.dtype, dims, data };
}

// Every sequence of the batch owns an equal share of the pool. A table without a known width is as wide as the longest sequence needs it.
function shareBlocks(
  { blocks, blockSize }: Pool,
  pastLengths: NDArray | undefined,
  sizes: (d: Dim) => number,
  { dtype, dims: [sequences, columns] }: TensorType,
  seq: number,
): NDArray {
  const batch = sizes(sequences!);
  const rows = (pastLengths?.data.reduce((a, b) => Math.max(a, b), 0) ?? 0) + seq;
  const width = typeof columns === 'number' ? columns : Math.max(1, Math.ceil(rows / blockSize));
  const share = Math.floor(blocks / Math.max(1, batch));
  const negative = pastLengths?.data.find((n) => n < 0);
  if (width > share || negative !== undefined)
    throw new FeedError({
      path: 'feed "past_lengths"',
      problem: negative === undefined ? 'the pool has no room for the new rows' : 'a number of rows below 0',
      expected: `at most ${share} of the ${blocks} blocks for each of ${batch} sequences, ${blockSize} rows in each`,
      got: negative === undefined ? `${width} blocks` : String(negative),
      hint: 'Compile with more blocks, or feed a block_table',
    });
  const data = Float64Array.from({ length: batch * width }, (_, i) => Math.floor(i / width) * share + (i % width));
  return { dtype, dims: [batch, width], data };
}
