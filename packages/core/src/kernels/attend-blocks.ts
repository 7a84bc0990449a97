// Attention within a window in blocks of primitives, beside the kernels: it computes few pairs more than the window allows.
import { ceilDivDims, type Dim, mulDims, subDims, termsOf } from '../dim/dim';
import { defineReasons } from '../lower/reason';
import { type Match, type Rule, refuse, rule } from '../lower/rule';
import { impliedBy } from '../mask/features';
import { mapMask } from '../mask/mask';
import { Attend } from '../ops/attend';
import { attendParts } from '../ops/attend-parts';
import { attendBlockwise, type BlockSize, blockSizeOf, readBlockwise } from '../ops/attend-window';
import { definitionCost, keysOrMany } from '../targets/attention-cost';
import { isAlwaysWhole, type WholeUpTo, wholeOrDivided } from './attend-divided';

const own = defineReasons({
  fewerKeys: ({ keys, queries }: { readonly keys: Dim; readonly queries: Dim }) =>
    `there may be fewer keys than queries: ${keys} keys, ${queries} queries`,
  fewKeys: ({ queries, keys, each }: { readonly queries: Dim; readonly keys: Dim; readonly each: BlockSize }) =>
    `blocks of ${each.queries} queries and ${each.keys} keys take longer than all pairs of ${queries} queries and ${keys} keys`,
  nothing: () => 'there are no queries',
  undivided: () => 'this is a part of an attention, or attends to few keys: there is nothing to divide',
  weights: () => 'blocks do not return weights of all pairs of queries and keys',
  tooWide: ({ each, most }: { readonly each: BlockSize; readonly most: number }) =>
    `blocks would have ${each.queries} queries and ${each.keys} keys, at most ${most} pairs are allowed; a sequence that short fits in one block`,
});

/** Pairs of a block. Wider windows cover all keys for which the scores of every pair fit into memory, and kernels count no more elements. */
const mostPairs = 2 ** 31 - 1;
/** Moving rows into blocks and back takes as long as attending to so many further keys: docs/benchmarks.md. */
const moving = 128;

/**
 * Attend under a window → products of neighbouring blocks, where that costs less than kernels or primitives over all pairs. Where it depends on sizes
 * that are known only at run time, it is decided then, against the cheapest other match.
 */
export const useBlocks: Rule = {
  ...rule('Attend → blocks', Attend, (node, context) => {
    const { q, k, v, sinks, mask, ...others } = attendParts(node.operands, node.attrs);
    const within = impliedBy(mask);
    if (within.left === undefined || within.right === undefined) return undefined;
    const reading = readBlockwise({ mask, ...others });
    if ('refused' in reading) return refuse(reading.refused);
    const [queries, keys] = [q.dims[2]!, k.dims[2]!];
    if (!termsOf(subDims(keys, queries)).every((t) => t.coefficient > 0)) return refuse(own.fewerKeys({ keys, queries }));
    if (queries === 0) return refuse(own.nothing());
    if (node.attrs.weights) return refuse(own.weights());
    if (node.attrs.undivided) return refuse(own.undivided());
    const each = blockSizeOf(reading.left, reading.right);
    if (each.queries * each.keys > mostPairs) return refuse(own.tooWide({ each, most: mostPairs }));

    const rival = context.cheapest(node)?.cost;
    const { scale, softcap } = node.attrs;
    const inBlocks: Match['emit'] = (get) => [
      attendBlockwise(get(q), get(k), get(v), { mask: mapMask(mask, get), scale, softcap, sinks: sinks && get(sinks) }),
    ];
    const cost = costOf(queries, keysOrMany(keys, reading.left + reading.right + 1), each);
    if (rival === undefined && cost >= definitionCost) return refuse(own.fewKeys({ queries, keys, each }));
    // A cheaper rival is taken instead of this match.
    const relative = definitionCost / Math.max(rival ?? definitionCost, cost);
    const few: WholeUpTo =
      queries === keys
        ? { size: keys, most: Math.ceil(relative * (each.keys + moving)) }
        : { size: mulDims(queries, keys), most: pairs(queries, each, relative) };
    const known = typeof queries === 'number' && typeof keys === 'number';
    if (!known && isAlwaysWhole(node, few)) return refuse(own.fewKeys({ queries, keys, each }));
    return { covers: node.outputs, cost, emit: known ? inBlocks : wholeOrDivided(node, [few], inBlocks) };
  }),
  compares: true,
};

/** For an unknown number of queries, as many as keys. */
function costOf(queries: Dim, keys: number, each: BlockSize): number {
  const rows = typeof queries === 'number' ? queries : keys;
  return rows * keys > 0 ? (definitionCost * Number(pairs(rows, each, 1))) / (rows * keys) : Number.POSITIVE_INFINITY;
}

/** So many pairs of all queries and keys take as long as blocks, in a kernel that needs `1 / relative` of the time of primitives. */
const pairs = (queries: Dim, each: BlockSize, relative: number): Dim =>
  mulDims(ceilDivDims(queries, each.queries), each.queries, Math.ceil(relative * (each.keys + moving)));
