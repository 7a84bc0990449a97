// Random numbers from a seed instead of from inputs.

import type { DrawMaker } from '../ir/graph';
import { noise } from '../ops/random';
import { derive } from '../sequence/derive';
import { keyOf } from '../weights/random';

/**
 * Computes every random draw by a counter-based hash of the seed, the draw's name, the run and the steps of the enclosing loops. The same in every runtime
 * and on every machine; a new draw in a model changes no other. The run number is a derived input that counts from 0.
 *
 * @param seed an integer from 0 to 2^53 - 1
 * Throws   ConfigError for a wrong seed
 */
export function seededDraws(seed: number): DrawMaker {
  keyOf(seed, '');
  return (g, name, dims, of, steps) =>
    noise(derive(g, 'run', { dtype: 'int64', dims: [] }, []), keyOf(seed, name), dims, of, steps);
}
