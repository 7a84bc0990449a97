// Patterns that several rules match.
import { madeBy, type Node, type Value } from '../ir/graph';
import type { MatchContext } from './rule';

/** The linear map with a bias that made a value, if nothing else reads the value: a kernel can then add the bias itself. */
export function biasedLinear(value: Value, around: MatchContext): Node | undefined {
  const linear = madeBy(value, value.graph.ops.Linear);
  return linear?.operands[2] && around.uses(value) === 1 ? linear : undefined;
}
