// Attention under a known layout of blocks, computed block by block.
import type { Dim } from '../dim/dim';
import { defineReasons } from '../lower/reason';
import { reasons } from '../lower/reasons';
import { type Rule, refuse, rule } from '../lower/rule';
import { and } from '../mask/and';
import { type BlocksOptions, blocksMask } from '../mask/blocks';
import { expressedBy } from '../mask/features';
import { conjuncts } from '../mask/mask';
import { Attend } from '../ops/attend';
import { attendLayout, keysPerQuery, layoutOf } from '../ops/attend-layout';
import { attendParts } from '../ops/attend-parts';
import { definitionCost } from '../targets/attention-cost';

const own = defineReasons({
  unknownLayout: () => 'the layout of blocks is not known before a run',
  differ: ({ queries, keys }: { readonly queries: Dim; readonly keys: Dim }) =>
    `queries may start at another position than keys: ${queries} queries, ${keys} keys`,
  unknownHeads: () => 'the number of heads is not known',
  perPair: ({ what }: { readonly what: string }) => `${what} has a number for every pair of query and key`,
  sinks: () => 'blocks do not support sinks',
  dense: ({ computed, keys }: { readonly computed: number; readonly keys: number }) =>
    `gathering ${computed} keys for each query takes longer than attending to all ${keys}`,
});

/** Gathering blocks takes as long as attending to so many further keys. */
const moving = 128;
/** A row of keys and values that is gathered takes as long as so many queries that attend to it: blocks with fewer queries do not share it enough. */
const queriesForRow = 32;

/** Attend under a layout of blocks that is a constant → products of blocks of queries with the blocks of keys that they attend to. */
export const useLayout: Rule = rule('Attend → gathered blocks', Attend, (node) => {
  const { q, k, v, sinks, mask, queryOffset, bias, noise } = attendParts(node.operands, node.attrs);
  const parts = conjuncts(mask);
  const inLayout = parts.filter((part) => part.class === blocksMask.class);
  if (inLayout.length !== 1) return undefined;
  const { size } = inLayout[0]!.options as BlocksOptions;
  const { leaf } = inLayout[0]!.operands.layout!;
  if (leaf?.kind !== 'constant') return refuse(own.unknownLayout());
  const reading = expressedBy(and(...parts.filter((part) => part !== inLayout[0])), { causal: true, lengths: true });
  if (reading.inexpressible !== undefined) return refuse(reasons.maskNotExpressible(reading.inexpressible));
  const [queries, keys] = [q.dims[2]!, k.dims[2]!];
  if (queries !== keys || queryOffset) return refuse(own.differ({ queries, keys }));
  if (typeof q.dims[1] !== 'number' || typeof k.dims[1] !== 'number') return refuse(own.unknownHeads());
  if (bias || noise) return refuse(own.perPair({ what: bias ? 'a bias' : 'dropout' }));
  if (node.attrs.weights) return refuse(own.perPair({ what: 'the weights' }));
  if (sinks) return refuse(own.sinks());
  const layout = layoutOf(leaf.tensor);
  const { causal, lengths } = reading;
  const computed = keysPerQuery({ layout, size, causal }) * Math.max(1, queriesForRow / size);
  // All blocks of the layout are computed, whatever the length of the sequence.
  const all = layout.keyBlocks * size;
  const known = typeof keys === 'number' ? keys : all;
  if (computed + moving >= known) return refuse(own.dense({ computed: Math.ceil(computed), keys: known }));
  const { scale, softcap } = node.attrs;
  return {
    covers: node.outputs,
    cost: (definitionCost * (computed + moving)) / known,
    emit: (get) => [
      attendLayout(get(q), get(k), get(v), { layout, size, causal, lengths: lengths && get(lengths), scale, softcap }),
    ],
  };
});
