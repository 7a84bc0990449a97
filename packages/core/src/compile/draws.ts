// Draws from a seed instead of from inputs.

import type { DrawMaker } from '../ir/graph';
import { noise } from '../ops/random';
import { derive } from '../sequence/derive';
import { keyOf } from '../weights/random';

/**
 * Computes every random draw by a counter hash of the seed, the draw's name, the run and the steps of the loops around. The same in every runtime
 * and on every machine; a new draw in a model changes no other. The run is a derived input that counts up from 0.
 *
 * @param seed an integer from 0 to 2^53 - 1
 * Throws   ConfigError when the seed is none
 */
export function seededDraws(seed: number): DrawMaker {
  keyOf(seed, '');
  return (g, name, dims, of, steps) =>
    noise(derive(g, 'run', { dtype: 'int64', dims: [] }, []), keyOf(seed, name), dims, of, steps);
}
