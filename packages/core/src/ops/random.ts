// Counter-based random numbers: a hash of a seed, a run number and an element's index, in integer ops that every runtime computes alike.
import { type Dim, mulDims } from '../dim/dim';
import { aList, given } from '../given';
import { apply, type Value } from '../ir/graph';
import { cast } from './cast';
import { add, cos, div, log, mul, sqrt, sub } from './elementwise';
import { gather } from './gather';
import { reshape } from './reshape';
import { Range, size } from './shape';

// All words are uint32, which wraps around on every runtime. The ops are sums, products and quotients, because some GPU providers lack xor
// and shifts. y (2y + 1) is a permutation of the words whose differences depend on y; those of sums and products with constants do not.
const mixed = (x: Value, key: Value): Value => {
  const y = add(x, key);
  return mul(y, add(mul(y, 2), 1));
};
const halvesSwapped = (x: Value): Value => add(mul(x, 2 ** 16), div(x, 2 ** 16));

/** A word for each counter and a key of two words. Different counters have different words. */
function hash(counter: Value, key0: Value, key1: Value): Value {
  return [key1, key0, key1].reduce((x, key) => mixed(halvesSwapped(x), key), mixed(counter, key0));
}

/** Two words for a run number from 0 to 2^53 - 1 and the steps of the enclosing loops, shared by all draws there: uint32 [2]. */
function placeOf(run: Value, steps: readonly Value[]): Value {
  const g = run.graph.root;
  const wraps = div(run, 2 ** 32);
  const low = cast(sub(run, mul(wraps, 2 ** 32)), 'uint32');
  const [start, key] = [g.number([0x9e3779b9, 0xbb67ae85], 'uint32'), g.number([0x3c6ef372, 0xa54ff53a], 'uint32')];
  const other = g.number([1, 0], 'int64');
  return steps.reduce(
    (place, step) => hash(cast(step, 'uint32'), place, gather(place, other)),
    hash(low, start, add(key, cast(wraps, 'uint32'))),
  );
}

/** 24 bits of a word as a number of {0, 1, …, 2^24 - 1}, which float32 represents exactly. */
const bits = (word: Value): Value => cast(div(word, 2 ** 8), 'float32');

/** 0, 1, … computed at run time, never a constant: noise may have many elements. */
function counters(near: Value, dims: readonly Dim[]): Value {
  const length = mulDims(...dims);
  const scalar = (n: number) => near.graph.root.number(n, 'int32');
  return cast(apply(Range, [scalar(0), cast(size(near, length), 'int32'), scalar(1)], { length })[0]!, 'uint32');
}

/**
 * Noise that depends only on a key, the run number, the steps of the enclosing loops and the index of an element.
 *
 * Shapes   run [], steps [] → dims, less than 2^31 elements
 * Dtypes   run int64, from 0 to 2^53 - 1; steps int64; noise float32: uniform in [0, 1) in steps of 2^-24, or normal within ±5.8
 * Throws   ShapeError when a size cannot be read from the graph's inputs
 * Source   of the normal: Box and Muller 1958; of y (2y + 1): Rivest et al. 1998, The RC6 block cipher
 * Lowers   everywhere: Range, Mul, Add, Div, Cast
 *
 * @param key two words below 2^32, one pair for each use and seed
 * @param steps the current step numbers, that of the outermost loop first
 */
export function noise(
  run: Value,
  key: readonly [number, number],
  dims: readonly Dim[],
  of: 'uniform' | 'normal',
  steps: readonly Value[] = [],
): Value {
  given('noise', { run, key, dims }, { key: aList, dims: aList });
  const g = run.graph.root;
  const place = placeOf(run, steps);
  const keys = key.map((word, i) => add(gather(place, g.number(i, 'int64')), word)) as [Value, Value];
  const index = counters(run, dims);
  if (of === 'uniform') return reshape(mul(bits(hash(index, ...keys)), 2 ** -24), dims);
  const [first, second] = [hash(mul(index, 2), ...keys), hash(add(mul(index, 2), 1), ...keys)];
  const radius = sqrt(mul(log(mul(add(bits(first), 1), 2 ** -24)), -2));
  return reshape(mul(radius, cos(mul(bits(second), 2 ** -24 * 2 * Math.PI))), dims);
}
