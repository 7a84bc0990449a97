// Matches that compete for the same values, and which of them are taken.
import type { Dim } from '../dim/dim';
import type { Value } from '../ir/graph';
import type { Reason } from './reason';
import { reasons } from './reasons';
import { type Found, nameOf } from './rewrite';

/** A match whose nodes the target runs. */
export interface Candidate extends Found {
  /** Index of the variant of its rule. */
  readonly way: number;
  readonly cost: number;
  readonly workspace: Dim;
  readonly kernels: readonly string[];
}

// Criteria that decide between overlapping matches, in this order; they do not depend on other nodes or on the order of rules.
const merits: readonly (readonly [by: string, compare: (a: Candidate, b: Candidate) => number])[] = [
  ['covers', (a, b) => b.match.covers.length - a.match.covers.length],
  ['memory', (a, b) => Number(b.match.sparesMemory ?? false) - Number(a.match.sparesMemory ?? false)],
  ['cost', (a, b) => a.cost - b.cost],
  ['absorbs', (a, b) => (b.match.absorbs?.length ?? 0) - (a.match.absorbs?.length ?? 0)],
  ['order', (a, b) => (a.rule === b.rule ? a.way - b.way : a.rule < b.rule ? -1 : 1)],
];

/** The matches that are taken: of overlapping ones the best. */
export function choose(candidates: readonly Candidate[]): Candidate[] {
  const better = (a: Candidate, b: Candidate): number => {
    for (const [, compare] of merits) {
      const difference = compare(a, b);
      if (difference) return difference;
    }
    return 0;
  };
  const taken = new Set<Value>();
  const chosen = new Set<Candidate>();
  for (const c of [...candidates].sort(better)) {
    if (c.match.covers.some((v) => taken.has(v))) continue;
    for (const v of c.match.covers) taken.add(v);
    chosen.add(c);
  }
  return candidates.filter((c) => chosen.has(c));
}

/** Why a match lost against one that was taken. */
export function lost(loser: Candidate, winner: Candidate): Reason {
  // One rule may match two nodes and cover the same values; of equal matches, that of the earlier node is taken.
  const by = merits.find(([, compare]) => compare(winner, loser))?.[0] ?? 'order';
  const to = nameOf(winner.rule, winner.match.variant);
  return by === 'cost' ? reasons.costsMore({ to, cost: loser.cost, against: winner.cost }) : reasons.lost({ to, by });
}
