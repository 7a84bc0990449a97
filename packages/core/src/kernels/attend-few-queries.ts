// One kernel for few queries and another for many, where the number of queries is known only at run time.
import { apply, type Rival } from '../ir/graph';
import { type Rule, rule } from '../lower/rule';
import { Attend } from '../ops/attend';
import { attendParts } from '../ops/attend-parts';
import { definitionCost } from '../targets/attention-cost';

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
    const { q, k } = attendParts(node.operands, node.attrs);
    const queries = q.dims[2]!;
    if (node.attrs.undivided || typeof queries === 'number' || context.waitsInLoops) return undefined;
    const best = context.cheapest(node);
    if (!best || best.workspace === 0) return undefined;
    const other = context.cheapest(node, sparingMatch);
    if (!other) return undefined;
    return {
      variant: `${other.name.replace('Attend → ', '')} for many`,
      covers: node.outputs,
      sparesMemory: true,
      cost: best.cost,
      emit(get) {
        const { cond, lessOrEqual, size } = node.graph.ops;
        const operands = node.operands.map((operand) => operand && get(operand));
        return cond(
          lessOrEqual(size(get(k), queries, [get(q)]), few),
          () => apply(Attend, operands, { ...node.attrs, undivided: true }),
          () => other.match.emit(get),
        );
      },
    };
  }),
  compares: true,
};
