// Random numbers that are the same on every machine: integers of a counter-based generator, converted to floats exactly.
import { ConfigError, describe } from '../error';

/** A sequence of random numbers that depends only on the seed and a path. */
export interface RandomStream {
  /** Fills `out` with the stream's next numbers, uniform, strictly between 0 and 1, in steps of 2^-52. */
  uniform(out: Float64Array): void;
}

/** The upper 32 bits of the product of two 32-bit integers. */
function highProduct(a: number, b: number): number {
  const [ah, al, bh, bl] = [a >>> 16, a & 0xffff, b >>> 16, b & 0xffff];
  const middle = ah * bl + ((al * bl) >>> 16);
  return ah * bh + (middle >>> 16) + ((al * bh + (middle & 0xffff)) >>> 16);
}

/**
 * Philox4x32-10: four random words from a counter of four words and a key of two. Overwrites the counter.
 * Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
 */
export function philox(counter: Uint32Array, key0: number, key1: number): void {
  let [a, b, c, d] = counter as unknown as [number, number, number, number];
  for (let round = 0; round < 10; round++) {
    const high0 = highProduct(0xd2511f53, a);
    const high1 = highProduct(0xcd9e8d57, c);
    const low0 = Math.imul(0xd2511f53, a);
    a = high1 ^ b ^ key0;
    b = Math.imul(0xcd9e8d57, c);
    c = high0 ^ d ^ key1;
    d = low0;
    key0 = (key0 + 0x9e3779b9) | 0;
    key1 = (key1 + 0xbb67ae85) | 0;
  }
  counter[0] = a;
  counter[1] = b;
  counter[2] = c;
  counter[3] = d;
}

/**
 * A key of two words for a path and a seed: the generator itself, applied to the characters.
 *
 * @throws ConfigError when the seed is not an integer from 0 to 2^53 - 1
 */
export function keyOf(seed: number, path: string): readonly [number, number] {
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new ConfigError({
      path: 'seed',
      problem: 'not a seed',
      expected: 'an integer from 0 to 2^53 - 1',
      got: describe(seed),
    });
  }
  const state = Uint32Array.of(0, 0, 0, path.length);
  for (let i = 0; i <= path.length; i += 4) {
    state[0]! ^= path.charCodeAt(i) | (path.charCodeAt(i + 1) << 16);
    state[1]! ^= path.charCodeAt(i + 2) | (path.charCodeAt(i + 3) << 16);
    philox(state, seed >>> 0, Math.floor(seed / 2 ** 32));
  }
  return [state[0]!, state[1]!];
}

/**
 * The random numbers of one path and one seed. Streams of different paths are independent, so the order in which they are used does not
 * matter, and a parameter added to a model changes no other.
 *
 * @param seed an integer from 0 to 2^53 - 1
 * @throws ConfigError for a wrong seed
 */
export function randomStream(seed: number, path: string): RandomStream {
  const [key0, key1] = keyOf(seed, path);
  const words = new Uint32Array(4);
  let position = 0;
  return {
    uniform(out) {
      for (let i = 0; i < out.length; i++, position++) {
        const lane = (position & 1) * 2;
        if (lane === 0 || i === 0) {
          const block = Math.floor(position / 2);
          words[0] = block;
          words[1] = Math.floor(block / 2 ** 32);
          words[2] = words[3] = 0;
          philox(words, key0, key1);
        }
        const step = (words[lane]! >>> 6) * 2 ** 26 + (words[lane + 1]! >>> 6);
        out[i] = (step + 0.5) * 2 ** -52;
      }
    },
  };
}
