// One kernel for few queries and another for many, where the number of queries is known only at run time.
import type { Rival } from '../ir/graph';
import { type Rule, rule } from '../lower/rule';
import { Attend } from '../ops/attend';
import { attendParts } from '../ops/attend-parts';
import { definitionCost } from '../targets/attention-cost';
import { isAlwaysWhole, type WholeUpTo, wholeOrDivided } from './attend-divided';

/** Up to so many queries, transposing keys that are stored as heads takes longer than writing all scores: docs/benchmarks.md. */
const few = 256;

/** A match that keeps no scores, and that costs no more than primitives. */
export const sparingMatch = (rival: Rival): boolean => rival.workspace === 0 && rival.cost <= definitionCost;

/**
 * Attend → an If on the number of queries, where the cheapest match keeps the scores of all pairs and another one keeps none: the cheapest for few queries, the other one
 * for many. So a step of a decoder does not copy its cache, and a long sequence takes no more memory than before.
 */
export const useFewQueries: Rule = {
  ...rule('Attend → by the number of queries', Attend, (node, context) => {
    const { q } = attendParts(node.operands, node.attrs);
    const queries = q.dims[2]!;
    const whole: WholeUpTo = { size: queries, most: few };
    if (node.attrs.undivided || typeof queries === 'number' || isAlwaysWhole(node, whole) || context.waitsInLoops)
      return undefined;
    const best = context.cheapest(node);
    if (!best || best.workspace === 0) return undefined;
    const other = context.cheapest(node, sparingMatch);
    if (!other) return undefined;
    return {
      variant: `${other.name.replace('Attend → ', '')} for many`,
      covers: node.outputs,
      sparesMemory: true,
      cost: best.cost,
      emit: wholeOrDivided(node, [whole], (get) => other.match.emit(get)),
    };
  }),
  compares: true,
};
