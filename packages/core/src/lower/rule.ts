// What a lowering rule is: an equality between a node (with its neighbours) and other nodes.

import type { Attrs, Op } from '../ir/define-op';
import type { Node, Value } from '../ir/graph';

/** What a rule found. */
export interface Match {
  /** Old values it produces; a fusion of several nodes covers several. */
  readonly covers: readonly Value[];
  /** Old values that nothing needs any more when this match is taken (they count when matches compete). */
  readonly absorbs?: readonly Value[];
  /** What it costs beside the kernels that it makes, on their scale: for primitives that compete with kernels. Default 0. */
  readonly cost?: number;
  /** Makes the new nodes; `get` gives the new value for an old one. One result for each of `covers`. */
  emit(get: Get): readonly Value[];
}
/** The new value for an old one. */
export type Get = (old: Value) => Value;

/** Why a rule that looked at a node does not apply: shown by `explain`. */
export interface Refusal {
  readonly refused: string;
}
/** A refusal, for a rule to return. */
export const refuse = (reason: string): Refusal => ({ refused: reason });

/** What a rule may ask about the graph around a node. */
export interface MatchContext {
  /** How many nodes and outputs read a value. */
  uses(value: Value): number;
  /** What the caller of `compile` promised about the data: `'prefill into empty cache'`. */
  assumes(promise: string): boolean;
}

/** One equality. It names no target and no block. */
export interface Rule {
  readonly name: string;
  /** Key of the op it looks at. */
  readonly op: string;
  /** True: asked only where the target does not run the node as it is. Such a rule makes a node fit, not better. */
  readonly remedy?: true;
  /** What it makes of a node, why it does not apply, or undefined where it has nothing to say. */
  match(node: Node, around: MatchContext): Match | Refusal | undefined;
}

/** Defines a rule with the attributes of its op typed. */
export function rule<A extends Attrs>(
  name: string,
  op: Op<A>,
  match: (node: Node<A>, around: MatchContext) => Match | Refusal | undefined,
): Rule {
  return { name, op: op.key, match: match as unknown as Rule['match'] };
}
