// What a lowering rule is: an equality between a node (with its neighbours) and other nodes.

import type { Attrs, Op } from '../ir/define-op';
import type { Node, Value } from '../ir/graph';
import type { Reason } from './reason';

/** One way to make the node that a rule found. */
export interface Match {
  /** Which of the rule's ways it is, where there are several: `with the mask in its bias`. */
  readonly variant?: string;
  /** Old values it produces; a fusion of several nodes covers several. */
  readonly covers: readonly Value[];
  /** Old values that nothing needs any more when this match is taken (they count when matches compete). */
  readonly absorbs?: readonly Value[];
  /** What is worth knowing where it is taken: shown by `explain`, read by the target's advice. */
  readonly notes?: readonly Reason[];
  /** What it costs beside the kernels that it makes, on their scale: for primitives that compete with kernels. Default 0. */
  readonly cost?: number;
  /** Makes the new nodes; `get` gives the new value for an old one. One result for each of `covers`. */
  emit(get: Get): readonly Value[];
}
/** The new value for an old one. */
export type Get = (old: Value) => Value;

/** Why a rule that looked at a node does not apply, or one of its ways: shown by `explain`. */
export interface Refusal {
  readonly variant?: string;
  readonly refused: Reason;
}
/** A refusal, for a rule to return: of the whole rule, or of one of its ways. */
export const refuse = (reason: Reason, variant?: string): Refusal => ({ refused: reason, ...(variant && { variant }) });

/** What a rule says of a node: a match or a refusal for each of its ways, the preferred first; undefined where it has nothing to say. */
export type Outcome = Match | Refusal | readonly (Match | Refusal)[] | undefined;
/** The same as a list. */
export const outcomesOf = (o: Outcome): readonly (Match | Refusal)[] =>
  o === undefined ? [] : Array.isArray(o) ? o : [o as Match | Refusal];

/** What a rule may ask about the graph around a node. */
export interface MatchContext {
  /** How many nodes and outputs read a value. */
  uses(value: Value): number;
  /** What the caller of `compile` says about the data: `'prefill into empty cache'`. */
  assumes(assumption: string): boolean;
}

/** One equality. It names no target and no block. */
export interface Rule {
  readonly name: string;
  /** Key of the op it looks at. */
  readonly op: string;
  /** True: asked only where the target does not run the node as it is. Such a rule makes a node fit, not better. */
  readonly remedy?: true;
  /** What it makes of a node, or why it does not apply. */
  match(node: Node, around: MatchContext): Outcome;
}

/** Defines a rule with the attributes of its op typed. */
export function rule<A extends Attrs>(name: string, op: Op<A>, match: (node: Node<A>, around: MatchContext) => Outcome): Rule {
  return { name, op: op.key, match: match as unknown as Rule['match'] };
}
