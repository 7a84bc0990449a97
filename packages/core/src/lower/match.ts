// What several rules look for.
import { operandsOf } from '../ir/define-op';
import { madeBy, type Node, type Value } from '../ir/graph';
import { Linear } from '../ops/matmul';
import type { MatchContext } from './rule';

/** The linear map with a bias that made a value, if nothing else reads the value: a kernel may then add the bias on its way. */
export function biasedLinear(value: Value, around: MatchContext): Node | undefined {
  const linear = madeBy(value, Linear);
  return linear && operandsOf(Linear, linear.operands).bias && around.uses(value) === 1 ? linear : undefined;
}
