// Attention to random keys that rows of queries share, with these keys gathered.
import type { Dim } from '../dim/dim';
import { defineReasons } from '../lower/reason';
import { reasons } from '../lower/reasons';
import { type Match, type Rule, refuse, rule } from '../lower/rule';
import { and } from '../mask/and';
import { expressedBy } from '../mask/features';
import { conjuncts } from '../mask/mask';
import { type RandomPairsOptions, randomMask, spreadOf } from '../mask/random-pairs';
import { Attend } from '../ops/attend';
import { attendParts } from '../ops/attend-parts';
import { attendSpread } from '../ops/attend-spread';
import { definitionCost, keysOrMany } from '../targets/attention-cost';

const own = defineReasons({
  differ: ({ queries, keys }: { readonly queries: Dim; readonly keys: Dim }) =>
    `queries may start at another position than keys: ${queries} queries, ${keys} keys`,
  perPair: ({ what }: { readonly what: string }) => `${what} has a number for every pair of query and key`,
  sinks: () => 'gathered keys do not support sinks',
  dense: ({ computed, keys }: { readonly computed: number; readonly keys: number }) =>
    `gathering ${computed} keys for each row of queries takes longer than attending to all ${keys}`,
});

/** Computing and gathering keys takes as long as attending to so many further keys. */
const moving = 128;

/** Attend under random pairs that rows of queries share → products of these rows with the keys that were drawn for them. */
export const useSpread: Rule = rule('Attend → gathered random keys', Attend, (node) => {
  const { q, k, v, sinks, mask, queryOffset, bias, noise } = attendParts(node.operands, node.attrs);
  const parts = conjuncts(mask);
  const drawn = parts.filter((part) => part.class === randomMask.class);
  if (drawn.length !== 1) return undefined;
  const pairs = drawn[0]!.options as RandomPairsOptions;
  const { shared } = pairs;
  if (shared === undefined) return undefined;
  const reading = expressedBy(and(...parts.filter((part) => part !== drawn[0])), { causal: true, lengths: true });
  if (reading.inexpressible !== undefined) return refuse(reasons.maskNotExpressible(reading.inexpressible));
  const [queries, keys] = [q.dims[2]!, k.dims[2]!];
  if (queries !== keys || queryOffset) return refuse(own.differ({ queries, keys }));
  if (bias || noise) return refuse(own.perPair({ what: bias ? 'a bias' : 'dropout' }));
  if (node.attrs.weights) return refuse(own.perPair({ what: 'the weights' }));
  if (sinks) return refuse(own.sinks());
  const { keys: each, stretch } = spreadOf(pairs.density);
  const all = keysOrMany(keys, 0);
  const computed = (Math.floor(all / stretch) + 1) * each;
  if (computed + moving >= all) return refuse(own.dense({ computed, keys: all }));
  const { scale, softcap } = node.attrs;
  const seed: { readonly seed?: typeof q } = drawn[0]!.operands;
  const { causal, lengths } = reading;
  const emit: Match['emit'] = (get) => [
    attendSpread(get(q), get(k), get(v), {
      pairs: { ...pairs, shared },
      seed: seed.seed && get(seed.seed),
      causal,
      lengths: lengths && get(lengths),
      scale,
      softcap,
    }),
  ];
  return { covers: node.outputs, cost: (definitionCost * (computed + moving)) / all, emit };
});
