// A random selection of pairs of positions.
import { describe, ShapeError } from '../error';
import type { Value } from '../ir/graph';
import { expectCount, expectType } from './check';
import { defineMask, type Mask } from './mask';

/** Options of a mask of random pairs. */
export interface RandomPairsOptions {
  /** The probability that a pair is allowed, above 0, at most 1. */
  readonly density: number;
  /** An integer from 0 to 2^53 − 1, where it is not an operand. */
  readonly seed?: number;
}

// A pair is allowed if 24 bits of its word are below this number.
const below = ({ density }: RandomPairsOptions): number => Math.round(density * 2 ** 24);

// Words of 32 bits that wrap around, as in the numbers of draws. y (2y + 1) is a permutation of the words; its high bits depend on all bits of y,
// and become the low bits of the next one.
const mixed = (x: number, key: number): number => {
  const y = (x + key) >>> 0;
  return Math.imul(y, (2 * y + 1) >>> 0) >>> 0;
};
const halvesSwapped = (x: number): number => ((x << 16) | (x >>> 16)) >>> 0;
const rounds = (x: number, keys: readonly number[]): number =>
  keys.reduce((word, key) => mixed(halvesSwapped(word), key), halvesSwapped(x));

/** The same on uint32 tensors. */
function roundsOf(x: Value, keys: readonly (Value | number)[]): Value {
  const { add, div, mul } = x.graph.ops;
  const swapped = (word: Value): Value => add(mul(word, 2 ** 16), div(word, 2 ** 16));
  return keys.reduce<Value>((word, key) => {
    const y = add(swapped(word), key);
    return mul(y, add(mul(y, 2), 1));
  }, swapped(x));
}

/** The words of a seed. */
const wordsOf = (seed: number): readonly [number, number] => [seed % 2 ** 32, Math.floor(seed / 2 ** 32)];
function wordsIn(seed: Value): readonly [Value, Value] {
  const { cast, div, mul, sub } = seed.graph.ops;
  const high = div(seed, 2 ** 32);
  return [cast(sub(seed, mul(high, 2 ** 32)), 'uint32'), cast(high, 'uint32')];
}

/** The class of {@link randomPairs}. */
export const randomMask = defineMask<'seed', RandomPairsOptions>({
  name: 'random',
  comparesPositions: true,
  ofSequences: () => true,
  check({ operands: { seed } }) {
    if (seed) expectType('seed of random pairs', seed, 'int64', []);
  },
  allows({ operands, options }, { from, to }) {
    const [low, high] = wordsOf(operands.seed ? operands.seed.data[0]! : options.seed!);
    const row = rounds(Math.max(from.position, 0), [low, high, low]);
    return rounds(to.position, [row, high, row]) >>> 8 < below(options);
  },
  tensor({ operands, options }, at) {
    const { cast, div, less, max } = at.graph.ops;
    const limit = below(options);
    if (limit >= 2 ** 24) return true;
    const [low, high] = operands.seed ? wordsIn(operands.seed) : wordsOf(options.seed!);
    const word = (positions: Value): Value => cast(positions, 'uint32');
    const row = roundsOf(word(max(at.queryPositions(), 0)), [low, high, low]);
    const pair = roundsOf(word(at.keyPositions()), [row, high, row]);
    return less(cast(div(pair, 2 ** 8), 'int32'), limit);
  },
  print: ({ options: { density, seed } }) => `random(${density}${seed === undefined ? '' : `, seed ${seed}`})`,
});

/**
 * Pairs of a query and a key chosen at random, each with probability `density` and independent of the others. The choice depends only on the seed and on the two
 * positions: it is the same on every target, for all heads and sequences, and for a shorter sequence it is the beginning of the longer one's. The seed is an integer
 * from 0 to 2^53 − 1, or int64 [] for another choice in each run. A query may be left without any key. Positions are those of the batch: padding on the left counts.
 *
 * Source   Zaheer et al. 2020, https://arxiv.org/abs/2007.14062
 *
 * @throws ShapeError for a density that is not above 0 and at most 1, and for a number that is not a seed
 */
export function randomPairs(density: number, seed: number): Mask<never>;
export function randomPairs<V extends object | string>(density: number, seed: V): Mask<V>;
export function randomPairs<V>(density: number, seed: number | V): Mask<V> {
  if (!(density > 0 && density <= 1)) {
    const expected = 'a number above 0, at most 1';
    throw new ShapeError({ path: 'randomPairs', problem: 'wrong density', expected, got: describe(density) });
  }
  if (typeof seed !== 'number') return randomMask({ operands: { seed }, options: { density } });
  expectCount('randomPairs', seed, 0);
  return randomMask<never>({ operands: {} as never, options: { density, seed } });
}
