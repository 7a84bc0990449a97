// Attention with global tokens as two small attentions: of all queries to the global tokens, and of these to all keys.
import type { Dim } from '../dim/dim';
import type { Value } from '../ir/graph';
import { defineReasons } from '../lower/reason';
import { reasons } from '../lower/reasons';
import { type Match, type Rule, refuse, rule } from '../lower/rule';
import { and } from '../mask/and';
import { computed } from '../mask/dense';
import { expressedBy } from '../mask/features';
import { globalMask, globalPositions } from '../mask/global-tokens';
import { keyLengths } from '../mask/lengths';
import { conjuncts, type Mask, masksIn } from '../mask/mask';
import { place, placesUpTo, queryColumn } from '../mask/places';
import { rowHasKey } from '../mask/tensor';
import { Attend } from '../ops/attend';
import { attendParts } from '../ops/attend-parts';
import { definitionCost, keysOrMany } from '../targets/attention-cost';
import { tensor } from '../tensor/convert';

const own = defineReasons({
  differ: ({ queries, keys }: { readonly queries: Dim; readonly keys: Dim }) =>
    `queries may start at another position than keys: ${queries} queries, ${keys} keys`,
  fewKeys: ({ tokens, keys }: { readonly tokens: number; readonly keys: Dim }) =>
    `attending to ${tokens} global tokens, and from them, takes longer than all pairs of ${keys} positions`,
  perPair: ({ what }: { readonly what: string }) => `${what} has a number for every pair of query and key`,
});

/** Gathering rows of keys and selecting rows of results takes as long as attending to so many further keys. */
const moving = 32;

/**
 * Attend under global tokens at known positions → two attentions over the pairs that the mask allows, without a tensor for all pairs. The results of global tokens
 * replace those of the other attention.
 */
export const useGlobalTokens: Rule = rule('Attend → global tokens', Attend, (node) => {
  const { q, k, v, sinks, mask, queryOffset, bias, noise } = attendParts(node.operands, node.attrs);
  const parts = conjuncts(mask);
  const tokens = parts.map((part) => globalPositions(part)).find((positions) => positions !== undefined);
  if (!tokens?.length) return undefined;
  const others = and(...parts.filter((part) => part.class !== globalMask.class));
  const reading = expressedBy(others, { causal: true, lengths: true });
  if (reading.inexpressible !== undefined) return refuse(reasons.maskNotExpressible(reading.inexpressible));
  if (masksIn(mask).filter((part) => part.class === globalMask.class).length > 1)
    return refuse(reasons.maskNotExpressible({ mask: 'global, global', kinds: ['global'] }));
  const [queries, keys] = [q.dims[2]!, k.dims[2]!];
  if (queries !== keys || queryOffset) return refuse(own.differ({ queries, keys }));
  if (bias || noise) return refuse(own.perPair({ what: bias ? 'a bias' : 'dropout' }));
  if (node.attrs.weights) return refuse(own.perPair({ what: 'the weights' }));
  const pairs = 2 * tokens.length + moving;
  const all = keysOrMany(keys, pairs);
  if (pairs >= all) return refuse(own.fewKeys({ tokens: tokens.length, keys }));

  const { scale, softcap } = node.attrs;
  const emit: Match['emit'] = (get) => {
    const {
      cast,
      clip,
      equal,
      gather,
      greaterOrEqual,
      iota,
      less,
      lessOrEqual,
      logicalAnd,
      min,
      pad,
      reshape,
      size,
      reduceSum,
      where,
      attendOp,
    } = node.graph.ops;
    const [rows, lengths] = [{ q: get(q), k: get(k), v: get(v) }, reading.lengths && get(reading.lengths)];
    const graph = rows.q.graph;
    const options = {
      ...(scale !== undefined && { scale }),
      ...(softcap !== undefined && { softcap }),
      ...(sinks && { sinks: get(sinks) }),
    };
    const positions = graph.root.constant(tensor('int64', [tokens.length], tokens));
    const last = tokens.at(-1)!;
    const certain = typeof keys === 'number' && last < keys;
    // Tokens beyond the sequence do not exist: a row of zeros after it stands in for them, also if the sequence is empty.
    const tokensOf = (x: Value): Value =>
      certain
        ? gather(x, positions, 2)
        : gather(pad(x, { axes: [2], before: [0], after: [1] }), min(positions, size(x, keys)), 2);
    const tokenRow = reshape(place(positions), [1, 1, 1, tokens.length]);
    const exists = certain ? [] : [less(tokenRow, place(size(rows.k, keys)))];
    const real = lengths ? [less(tokenRow, place(reshape(lengths, [lengths.dims[0]!, 1, 1, 1])))] : [];
    const before = reading.causal ? [lessOrEqual(tokenRow, queryColumn(placesUpTo(graph, queries), queries))] : [];
    const conditions = [...exists, ...real, ...before];
    const toTokens = attendOp(rows.q, tokensOf(rows.k), tokensOf(rows.v), {
      ...options,
      mask: masked(conditions, logicalAnd),
    });
    const upTo = reading.causal
      ? [greaterOrEqual(reshape(place(positions), [1, 1, tokens.length, 1]), reshape(placesUpTo(graph, keys), [1, 1, 1, keys]))]
      : [];
    const fromTokens = attendOp(tokensOf(rows.q), rows.k, rows.v, {
      ...options,
      mask: and(masked(upTo, logicalAnd), ...(lengths ? [keyLengths(lengths)] : [])),
    });
    // The tokens before a position; at that of a token, their number is its row.
    const column = reshape(iota(graph, queries), [queries, 1]);
    const isToken = rowHasKey(equal(column, positions));
    const rank = reduceSum(cast(less(positions, column), 'int64'), [1], { keepDims: false });
    const row = clip(rank, 0, tokens.length - 1);
    return [where(isToken, gather(fromTokens, row, 2), toTokens)];
  };
  return { covers: node.outputs, cost: (definitionCost * pairs) / all, emit };
});

const masked = (conditions: readonly Value[], both: (a: Value, b: Value) => Value): Mask<Value> =>
  conditions.length
    ? computed(
        conditions.reduce((a, b) => both(a, b)),
        'global tokens',
      )
    : and();
