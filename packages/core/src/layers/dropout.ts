// Dropout: random noise in training, the identity otherwise.
import { ConfigError, describe } from '../error';
import { given } from '../given';
import type { Value } from '../ir/graph';

/**
 * In training, sets elements to 0 with a probability and divides the others by 1 − probability; otherwise x itself.
 *
 * Shapes   x any → the same
 * Dtypes   floats
 * Throws   ConfigError for a probability outside [0, 1)
 * Source   Srivastava et al. 2014, https://jmlr.org/papers/v15/srivastava14a.html
 * Lowers   everywhere: GreaterOrEqual, Where in training, nothing otherwise
 * Example  const y = dropout(x, 0.1);
 */
export function dropout(x: Value, probability: number): Value {
  given('dropout', { x });
  if (!(probability >= 0 && probability < 1))
    throw new ConfigError({
      path: 'dropout',
      problem: 'not a probability',
      expected: 'a number in [0, 1)',
      got: describe(probability),
    });
  const g = x.graph.root;
  if (!g.training || probability === 0) return x;
  // Read from the graph: a model without dropout loads nothing of this.
  const { div, greaterOrEqual, where } = g.ops;
  const noise = g.draw('dropout', x.dims, 'uniform');
  return where(greaterOrEqual(noise, probability), div(x, 1 - probability), 0);
}
