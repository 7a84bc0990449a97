// Patterns that several rules match.
import { operandsOf } from '../ir/define-op';
import { madeBy, type Node, type Value } from '../ir/graph';
import type { MatchContext } from './rule';

/** The linear map with a bias that made a value, if nothing else reads the value: a kernel can then add the bias itself. */
export function biasedLinear(value: Value, context: MatchContext): Node | undefined {
  const { Linear } = value.graph.ops;
  const linear = madeBy(value, Linear);
  return linear && operandsOf(Linear, linear.operands).bias && context.uses(value) === 1 ? linear : undefined;
}
