// A random selection of pairs of positions.
import { type Dim, mulDims } from '../dim/dim';
import { describe, ShapeError } from '../error';
import type { Value } from '../ir/graph';
import { tensor } from '../tensor/convert';
import { expectCount, expectType } from './check';
import { defineMask, type Mask } from './mask';

/** Options of a mask of random pairs. */
export interface RandomPairsOptions {
  /** The probability that a pair is allowed, above 0, at most 1. */
  readonly density: number;
  /** An integer from 0 to 2^53 − 1, where it is not an operand. */
  readonly seed?: number;
  /** So many queries in a row have the same keys, which are then spread evenly. Absent: all pairs are independent. */
  readonly shared?: number;
}

/** How keys are spread: `keys` of them in each stretch of `stretch` positions, one in each part of it. */
export interface Spread {
  readonly keys: number;
  readonly stretch: number;
}

const mostKeys = 100;

// The predicate asks for every pair.
let last: { readonly density: number; readonly spread: Spread } | undefined;

/** The fraction that comes nearest to a density, with at most 100 keys in a stretch, and the shorter stretch of two that are as near. */
export function spreadOf(density: number): Spread {
  if (last?.density !== density) last = { density, spread: nearestTo(density) };
  return last.spread;
}

function nearestTo(density: number): Spread {
  const candidates = Array.from({ length: mostKeys }, (_, i) => ({
    keys: i + 1,
    stretch: Math.max(i + 1, Math.round((i + 1) / density)),
  }));
  const error = ({ keys, stretch }: Spread): number => Math.abs(keys / stretch - density);
  return candidates.reduce((best, one) => (error(one) < error(best) - 1e-12 ? one : best));
}

/** The first positions of the parts of a stretch, and their lengths: their sums are those of equal parts, rounded down. */
export const partsOf = ({ keys, stretch }: Spread): readonly { readonly start: number; readonly length: number }[] =>
  Array.from({ length: keys }, (_, t) => {
    const start = Math.floor((t * stretch) / keys);
    return { start, length: Math.floor(((t + 1) * stretch) / keys) - start };
  });

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

/** A word of 24 bits, int32 in graphs. */
const bits = (word: number): number => word >>> 8;
const bitsOf = (word: Value): Value => word.graph.ops.cast(word.graph.ops.div(word, 2 ** 8), 'int32');
/** The remainder of numbers that are not negative. */
function modOf(x: Value, by: Value | number): Value {
  const { div, mul, sub } = x.graph.ops;
  return sub(x, mul(div(x, by), by));
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
    const { shared } = options;
    const query = Math.max(from.position, 0);
    if (shared !== undefined) return isSpread(Math.floor(query / shared), to.position, [low, high], spreadOf(options.density));
    const row = rounds(query, [low, high, low]);
    return rounds(to.position, [row, high, row]) >>> 8 < below(options);
  },
  tensor({ operands, options }, at) {
    const { div, less, max } = at.graph.ops;
    const limit = below(options);
    if (limit >= 2 ** 24) return true;
    const seed = seedWords(operands.seed, options);
    const query = max(at.queryPositions(), 0);
    const { shared } = options;
    if (shared !== undefined) return isSpreadIn(div(query, shared), at.keyPositions(), seed, spreadOf(options.density));
    const [low, high] = seed;
    const row = roundsOf(wordOf(query), [low, high, low]);
    return less(bitsOf(roundsOf(wordOf(at.keyPositions()), [row, high, row])), limit);
  },
  print: ({ options: { density, seed, shared } }) =>
    `random(${density}${seed === undefined ? '' : `, seed ${seed}`}${shared === undefined ? '' : `, shared by ${shared}`})`,
});

type SeedWords = readonly [low: Value | number, high: Value | number];
const seedWords = (seed: Value | undefined, options: RandomPairsOptions): SeedWords =>
  seed ? wordsIn(seed) : wordsOf(options.seed!);
const wordOf = (positions: Value): Value => positions.graph.ops.cast(positions, 'uint32');

// ---- Keys that are spread evenly ----------------------------------------------------------------------------------------

// A row of queries turns each stretch by a number of its own and takes one key from each part of it: every pair is equally probable, and no key is taken twice.
function isSpread(row: number, key: number, [low, high]: readonly [number, number], spread: Spread): boolean {
  const { keys, stretch } = spread;
  const word = rounds(row, [low, high, low]);
  const number = Math.floor(key / stretch);
  const turn = bits(rounds(number, [high, word, low])) % stretch;
  const place = ((key % stretch) - turn + stretch) % stretch;
  const part = Math.floor(((place + 1) * keys - 1) / stretch);
  const start = Math.floor((part * stretch) / keys);
  const length = Math.floor(((part + 1) * stretch) / keys) - start;
  return place - start === bits(rounds(number * keys + part, [word, high, word])) % length;
}

function isSpreadIn(row: Value, key: Value, [low, high]: SeedWords, { keys, stretch }: Spread): Value {
  const { add, div, equal, mul, sub } = row.graph.ops;
  const word = roundsOf(wordOf(row), [low, high, low]);
  const number = div(key, stretch);
  const turn = modOf(bitsOf(roundsOf(wordOf(number), [high, word, low])), stretch);
  const place = modOf(add(sub(modOf(key, stretch), turn), stretch), stretch);
  const part = div(sub(mul(add(place, 1), keys), 1), stretch);
  const start = div(mul(part, stretch), keys);
  const length = sub(div(mul(add(part, 1), stretch), keys), start);
  const chosen = modOf(bitsOf(roundsOf(wordOf(add(mul(number, keys), part)), [word, high, word])), length);
  return equal(sub(place, start), chosen);
}

/**
 * The keys of rows of queries that share them: int32 [rows, stretches · keys]. In the last stretch some may be behind the last key.
 *
 * @param seed int64 []
 */
export function spreadKeys(near: Value, rows: Dim, stretches: Dim, seed: Value | undefined, options: RandomPairsOptions): Value {
  const { graph } = near;
  const { add, iota, mul, reshape } = graph.ops;
  const spread = spreadOf(options.density);
  const { keys, stretch } = spread;
  const [low, high] = seedWords(seed, options);
  const parts = partsOf(spread);
  const perPart = (numbers: readonly number[]): Value => graph.root.constant(tensor('int32', [1, 1, keys], numbers));
  const word = reshape(roundsOf(wordOf(iota(graph, rows, 'int32')), [low, high, low]), [rows, 1, 1]);
  const number = reshape(iota(graph, stretches, 'int32'), [1, stretches, 1]);
  const turn = modOf(bitsOf(roundsOf(wordOf(number), [high, word, low])), stretch);
  const slot = add(mul(number, keys), perPart(parts.map((_, t) => t)));
  const chosen = modOf(bitsOf(roundsOf(wordOf(slot), [word, high, word])), perPart(parts.map(({ length }) => length)));
  const place = add(add(chosen, perPart(parts.map(({ start }) => start))), turn);
  const key = add(modOf(place, stretch), mul(number, stretch));
  return reshape(key, [rows, mulDims(stretches, keys)]);
}

/**
 * Pairs of a query and a key chosen at random, each with probability `density` and independent of the others. The choice depends only on the seed and on the two
 * positions: it is the same on every target, for all heads and sequences, and for a shorter sequence it is the beginning of the longer one's. The seed is an integer
 * from 0 to 2^53 − 1, or int64 [] for another choice in each run. A query may be left without any key. Positions are those of the batch: padding on the left counts.
 *
 * With `shared`, so many queries in a row have the same keys, and these are spread evenly: each of n equal parts of a stretch of m positions has one, where n / m is
 * the density or the fraction with n ≤ 100 that comes nearest. Each pair is as probable as before, but pairs are not independent. Kernels that gather keys then
 * compute no other pairs.
 *
 * Source   Zaheer et al. 2020, https://arxiv.org/abs/2007.14062
 *
 * @throws ShapeError for a density that is not above 0 and at most 1, and for a number that is not a seed
 */
export function randomPairs(density: number, seed: number, shared?: number): Mask<never>;
export function randomPairs<V extends object | string>(density: number, seed: V, shared?: number): Mask<V>;
export function randomPairs<V>(density: number, seed: number | V, shared?: number): Mask<V> {
  if (!(density > 0 && density <= 1)) {
    const expected = 'a number above 0, at most 1';
    throw new ShapeError({ path: 'randomPairs', problem: 'wrong density', expected, got: describe(density) });
  }
  if (shared !== undefined) expectCount('randomPairs', shared, 1);
  const options = { density, ...(shared !== undefined && { shared }) };
  if (typeof seed !== 'number') return randomMask({ operands: { seed }, options });
  expectCount('randomPairs', seed, 0);
  return randomMask<never>({ operands: {} as never, options: { ...options, seed } });
}
