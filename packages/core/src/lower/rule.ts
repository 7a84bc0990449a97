// Helpers for writing rules; the type of a rule is defined with the other nouns of the graph.
import type { Attrs, Op } from '../ir/define-op';
import type { Match, MatchContext, Node, Outcome, Refusal, Rule } from '../ir/graph';
import type { Reason } from './reason';

export type { Get, Match, MatchContext, Outcome, Refusal, Rule } from '../ir/graph';

/** A refusal, for a rule to return: of the whole rule, or of one of its variants. */
export const refuse = (reason: Reason, variant?: string): Refusal => ({ refused: reason, ...(variant && { variant }) });

/** The result of a rule, as a list. */
export const outcomesOf = (o: Outcome): readonly (Match | Refusal)[] =>
  o === undefined ? [] : Array.isArray(o) ? o : [o as Match | Refusal];

/** Defines a rule with the attributes of its op typed. */
export function rule<A extends Attrs>(name: string, op: Op<A>, match: (node: Node<A>, context: MatchContext) => Outcome): Rule {
  return { name, op: op.key, match: match as unknown as Rule['match'] };
}
