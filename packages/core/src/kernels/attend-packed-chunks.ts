// Packed sequences in chunks of queries, where padding them for the attention would compute more.
import { addDims, type Dim, mulDims } from '../dim/dim';
import { freeSizeName } from '../ir/free-names';
import type { Value } from '../ir/graph';
import { defineReasons } from '../lower/reason';
import { reasons } from '../lower/reasons';
import { type Match, type Rule, refuse, rule } from '../lower/rule';
import { conjuncts, impliedBy, mapMask } from '../mask/index';
import { Attend } from '../ops/attend';
import { attendInChunks } from '../ops/attend-chunked';
import { attendParts } from '../ops/attend-parts';
import { sourceOf, tokenPlaces } from '../sequence/token-places';
import { wholeOrDivided } from './attend-divided';

const own = defineReasons({
  waits: () => 'each step of its loop would wait for the device',
  perPair: () => 'a bias, dropout, the weights or a gradient need a number for every pair of tokens',
  cheaper: () => 'a kernel takes packed sequences, or blocks of a window take less',
});

/** The least cost of padding sequences for their attention; what costs less computes no padding. */
const padding = 15;

/**
 * Attend on packed sequences → a Loop over chunks of queries, each of which attends to the sequences that it has queries of, so that the time is that of the sum of
 * squared lengths. Where the sequences are short or similar, padding them for the attention computes less: which is decided by their sizes in each run.
 */
export const packedChunksOf = (rows: number): Rule => ({
  ...rule('Attend(packed) → chunks of queries', Attend, (node, context) => {
    const { q, k, v, mask, sinks, bias, noise } = attendParts(node.operands, node.attrs);
    const packed = conjuncts(mask).find((m) => m.class.name === 'documents');
    if (!packed || node.attrs.undivided) return undefined;
    if (context.waitsInLoops) return refuse(own.waits());
    const rival = context.cheapest(node);
    // Without a rival, memory decides: there is a rule for that.
    if (!rival) return undefined;
    if (rival.cost < padding) return refuse(own.cheaper());
    const { offsets, keyOffsets } = packed.operands as Readonly<Record<string, Value>>;
    const [ofQueries, ofKeys] = [sourceOf(offsets!), sourceOf(keyOffsets!)];
    if (!ofQueries || !ofKeys) return refuse(reasons.derivedOffsets());
    // What has a number for every pair of tokens takes the memory that chunks would spare.
    if (bias || noise || node.attrs.weights || node.graph.root.defined.has(node.outputs[0]!)) return refuse(own.perPair());
    const { scale, softcap } = node.attrs;
    const inChunks: Match['emit'] = (get) => {
      const query = get(q);
      return [
        attendInChunks(query, get(k), get(v), {
          mask: mapMask(mask, get),
          sinks: sinks && get(sinks),
          scale,
          softcap,
          rows,
          keysName: freeSizeName(query.graph, 'keys_of_chunk'),
        }),
      ];
    };
    const emit: Match['emit'] = (get) => {
      const { root } = get(q).graph;
      const [places, keyPlaces] = [ofQueries, ofKeys].map((source) =>
        tokenPlaces(root, { ...source, lengths: get(source.lengths) }),
      ) as [Value, Value];
      const [sequences, longest] = places.dims as [Dim, Dim];
      const [tokens, keys, longestKeys] = [q.dims[2]!, k.dims[2]!, keyPlaces.dims[1]!];
      // A chunk attends to the keys of its own queries' sequences: as many as it has queries, and the rest of the first and the last.
      const most = addDims(mulDims(2 * rows, keys), mulDims(impliedBy(mask).right === 0 ? 1 : 2, tokens, longestKeys));
      const padded = { size: mulDims(2, sequences, longest, longestKeys), most };
      return wholeOrDivided(node, [padded], inChunks, () => [places, keyPlaces])(get);
    };
    return { covers: node.outputs, cost: rival.cost - 1, emit };
  }),
  compares: true,
});

/** The rule with the queries in a chunk that were measured: docs/benchmarks.md. */
export const usePackedChunks = packedChunksOf(128);
