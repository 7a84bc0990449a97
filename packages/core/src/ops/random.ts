// Random numbers without a generator: a hash of a seed, a run and a place, made of integer ops that every runtime computes alike.
import { type Dim, mulDims } from '../dim';
import { apply, type Value } from '../graph';
import { cast } from './cast';
import { add, bitwiseAnd, bitwiseXor, cos, div, log, mul, sqrt } from './elementwise';
import { reshape } from './reshape';
import { Range, size } from './shape';

type Word = Value | number;
const wordSize = 2 ** 32;
// Odd and below 2^21, so that the product with a word stays below 2^53 and float64 holds it exactly.
const multipliers = [0x1d8e4d, 0x1a3f5b, 0x16b2d3] as const;

const folded = (x: Value): Value => bitwiseXor(x, div(x, 2 ** 16));
const round = (x: Value, multiplier: number): Value => bitwiseAnd(mul(folded(x), multiplier), wordSize - 1);

/** A word below 2^32 for each counter below 2^53, under a key of two words. Different counters below 2^32 give different words. */
function hash(counter: Value, key0: Word, key1: Word): Value {
  const [low, high] = [bitwiseAnd(counter, wordSize - 1), div(counter, wordSize)];
  const x = bitwiseXor(round(bitwiseXor(low, key0), multipliers[0]), bitwiseXor(high, key1));
  return folded(round(round(x, multipliers[1]), multipliers[2]));
}

/** 24 bits of a word as a number of {0, 1, …, 2^24 - 1}: as many as float32 holds exactly. */
const bits = (word: Value): Value => cast(div(word, 2 ** 8), 'float32');

/** 0, 1, … as an op, never a constant: noise may have many elements. */
function counters(run: Value, dims: readonly Dim[]): Value {
  const length = mulDims(...dims);
  const scalar = (n: number) => run.graph.root.number(n, 'int64');
  return apply(Range, [scalar(0), size(run, length), scalar(1)], { length })[0]!;
}

/**
 * Noise that depends on a key, the number of a run and the place of an element alone.
 *
 * Shapes   run [] → dims
 * Dtypes   run int64, from 0 to 2^53 - 1; noise float32: uniform in [0, 1) in steps of 2^-24, or normal within ±5.8
 *
 * @param key two words below 2^32, one pair for each use and seed
 * Throws   ShapeError when a size cannot be read from the graph's inputs
 * Source   of the normal: Box and Muller 1958
 */
export function noise(run: Value, key: readonly [number, number], dims: readonly Dim[], of: 'uniform' | 'normal'): Value {
  const keys = [hash(run, key[0], key[1]), hash(run, key[1], key[0])] as const;
  const index = counters(run, dims);
  if (of === 'uniform') return reshape(mul(bits(hash(index, ...keys)), 2 ** -24), dims);
  const [first, second] = [hash(mul(index, 2), ...keys), hash(add(mul(index, 2), 1), ...keys)];
  const radius = sqrt(mul(log(mul(add(bits(first), 1), 2 ** -24)), -2));
  return reshape(mul(radius, cos(mul(bits(second), 2 ** -24 * 2 * Math.PI))), dims);
}
